#!/usr/bin/env bash
# Checks and tests everything; arguments go to pytest, as in: bash scripts/test.sh -k overlay
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh --test

unset PYTHONDONTWRITEBYTECODE _ROS_WHEELS_BOOTSTRAP_COMPLETE
export YOLO_AUTOINSTALL=false
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
# Runs side by side must not hear each other.
export ROS_DOMAIN_ID="${ROS_DOMAIN_ID:-$((1 + $$ % 99))}"

python=.venv/bin/python
$python -m ruff check .
$python -m ruff format --check .
$python -m mypy re_pose_ros
MYPYPATH=interfaces/cv_bridge $python -m mypy --package cv_bridge
exec $python -m pytest test "$@"
