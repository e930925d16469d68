#!/usr/bin/env bash
# Plays a generated scene, or what --source names, through the whole graph; all arguments are told
# by: bash scripts/demo.sh --help
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
bash "$root/scripts/setup.sh"
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
export YOLO_AUTOINSTALL=false
exec "$root/.venv/bin/python" -m re_pose_ros demo "$@"
