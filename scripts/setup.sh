#!/usr/bin/env bash
# Makes .venv ready to run the package (with --test also to test it); quick where nothing changed.
# Uses the ROS 2 installation that is sourced if there is one, else rclpy from wheels and the
# overlay in interfaces/. PYTHON names the interpreter to use.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
log="$venv/setup.log"
python="$venv/bin/python"
# Set by the wheels in every process they start; inherited, it would keep them from finding the
# libraries of this environment.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE

say() { echo "setup: $*" >&2; }
missing() {
    echo "setup: error: $*" >&2
    exit 2
}
failed() {
    echo "setup: error: $*; the log is $log" >&2
    exit 1
}

with_test=0
case "${1:-}" in
    "") ;;
    --test) with_test=1 ;;
    *) missing "unknown argument '$1'; usage: bash scripts/setup.sh [--test]" ;;
esac

# --- which mode, and whether there is anything to do

mode=wheels
if [ -n "${ROS_DISTRO:-}" ]; then
    mode=ros
    absent="$(python3 - <<'PYTHON' 2>/dev/null || echo rclpy
import importlib
names = "rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs", "vision_msgs", "cv_bridge"
def lacks(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return True
print(*filter(lacks, names))
PYTHON
    )"
    if [ -n "$absent" ]; then
        packages="$(printf "ros-$ROS_DISTRO-%s " ${absent//_/-})"
        missing "ROS 2 $ROS_DISTRO is sourced, but $(command -v python3 || echo python3) cannot" \
            "import: $absent; run 'sudo apt install $packages' and make python3 the system's," \
            "or use a shell where ROS is not sourced to install it from wheels"
    fi
fi

hash_of() { # of the mode, the place and the files given
    { echo "$mode ${ROS_DISTRO:-} $root" && sha256sum "$@"; } | sha256sum | cut -d ' ' -f 1
}
cd "$root"
shopt -s globstar nullglob
inputs=(constraints.txt requirements.txt requirements-core.txt setup.py setup.cfg package.xml
    scripts/setup.sh)
for file in interfaces/**; do
    case "$file" in
        *.egg-info/* | */__pycache__/* | */build/*) ;;
        *) [ ! -f "$file" ] || inputs+=("$file") ;;
    esac
done
stamp="$(hash_of "${inputs[@]}")"
test_stamp="$(hash_of "${inputs[@]}" requirements-test.txt)"
stamped() { [ -x "$python" ] && [ "$(cat "$venv/$1" 2>/dev/null)" = "$2" ]; }
ready() {
    stamped .setup "$stamp" && { [ $with_test = 0 ] || stamped .setup-test "$test_stamp"; }
}
if ready; then
    exit 0
fi

# One at a time; this file is the lock, because .venv may be made anew.
command -v flock >/dev/null || missing "flock is missing; run 'sudo apt install util-linux'"
exec 9<"$root/scripts/setup.sh"
if ! flock --nonblock 9; then
    say "waiting for another set-up to end"
    flock 9
fi
if ready; then
    exit 0
fi

# --- what the machine must have

find_python() {
    local candidate version first=""
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python3.14}; do
        version="$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' \
            2>/dev/null)" || continue
        first="${first:-$candidate is $version}"
        case "$version" in
            3.10 | 3.11 | 3.12 | 3.13 | 3.14)
                command -v "$candidate"
                return
                ;;
        esac
    done
    missing "Python 3.10 to 3.14 is needed (${first:-none was found}); run 'sudo apt install" \
        "python3 python3-venv python3-dev' or name another: PYTHON=/path/to/python bash $0"
}

check_machine() { # $1: the interpreter
    local version
    version="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    "$1" -c 'import ensurepip, venv' 2>/dev/null || missing \
        "$1 cannot make virtual environments; run 'sudo apt install python$version-venv'"
    [ $mode = wheels ] || return 0
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64") ;;
        *) missing "rclpy has wheels for x86-64 Linux only and this is $(uname -s) $(uname -m);" \
            "install ROS 2 (https://docs.ros.org), source it and run this again" ;;
    esac
    "$1" -c 'import os, sysconfig as s; os.stat(os.path.join(s.get_path("include"), "Python.h"))' \
        2>/dev/null || missing \
        "the C headers of $1 are missing; run 'sudo apt install python$version-dev'"
    command -v cmake >/dev/null || missing "cmake is missing; run 'sudo apt install cmake'"
    command -v "${CC:-cc}" >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null ||
        missing "a C compiler is missing; run 'sudo apt install build-essential'"
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
        command -v clang++ >/dev/null ||
        missing "a C++ compiler is missing; run 'sudo apt install build-essential'"
    command -v make >/dev/null || { command -v ninja >/dev/null && export CMAKE_GENERATOR=Ninja; } ||
        missing "make is missing; run 'sudo apt install make'"
}

# --- the environment

make_venv() {
    local base of=wheels
    if [ -f "$venv/pyvenv.cfg" ] && grep -q '^include-system-site-packages = true' \
        "$venv/pyvenv.cfg"; then
        of=ros
    fi
    if "$python" -m pip --version >/dev/null 2>&1; then
        [ $of = $mode ] || missing ".venv was made for $of and this shell is for $mode (is ROS" \
            "sourced?); use the other kind of shell, or remove $venv and run this again"
        check_machine "$python"
        return
    fi
    base="$(find_python)"
    check_machine "$base"
    say "making .venv with $("$base" --version)"
    rm -rf "$venv"
    mkdir "$venv"
    local options=()
    [ $mode = wheels ] || options=(--system-site-packages)
    "$base" -m venv "${options[@]}" "$venv" >>"$log" 2>&1 || failed "$base could not make .venv"
}

pip_install() {
    local said
    said="$(mktemp)"
    if "$python" -m pip install --disable-pip-version-check --no-input --retries 3 "$@" \
        >"$said" 2>&1; then
        cat "$said" >>"$log"
        rm "$said"
        return
    fi
    cat "$said" >>"$log"
    local reason
    reason="$(grep -m 1 '^ERROR' "$said" || tail -n 1 "$said")"
    if grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|Max retries' \
        "$said"; then
        rm "$said"
        missing "the package registry cannot be reached; connect this machine to the network, or" \
            "name a mirror: PIP_INDEX_URL=https://... bash $0 (details in $log)"
    elif grep -q 'No space left on device' "$said"; then
        rm "$said"
        missing "the disk is full; about 8 GB are needed under $venv"
    fi
    rm "$said"
    failed "pip: $reason"
}

# What an interrupted pip left: without its record a package only looks installed.
remove_halves() {
    local package
    for package in "$venv"/lib/python3*/site-packages/*.dist-info; do
        [ -f "$package/RECORD" ] || rm -rf "$package"
    done
}

install_wheels() {
    say "installing packages (6 GB at first, a few minutes)"
    pip_install pip setuptools --constraint constraints.txt
    pip_install --requirement requirements.txt --constraint constraints.txt
}

# The distribution's NumPy and OpenCV stay: its cv_bridge is compiled against them.
install_beside_ros() {
    say "installing what ROS 2 $ROS_DISTRO lacks"
    local kept="numpy|scipy|opencv-python"
    local here="$venv/constraints.txt"
    grep -vE "^($kept)==" constraints.txt >"$here"
    "$python" - "$here" <<'PYTHON' >>"$log" 2>&1 || failed "cannot read what is installed"
import importlib.metadata as metadata, pathlib, sys, sysconfig
import cv2, numpy
with open(sys.argv[1], "a") as constraints:
    print(f"numpy=={numpy.__version__}", file=constraints)
try:
    metadata.version("opencv-python")
except metadata.PackageNotFoundError:
    # Debian's OpenCV does not tell pip that it is there.
    version = cv2.__version__.split("-")[0]
    note = pathlib.Path(sysconfig.get_path("purelib"), f"opencv_python-{version}.dist-info")
    note.mkdir(exist_ok=True)
    lines = ["Metadata-Version: 2.1", "Name: opencv-python", f"Version: {version}", ""]
    (note / "METADATA").write_text("\n".join(lines))
    (note / "INSTALLER").write_text("re_pose_ros\n")
PYTHON
    pip_install --requirement requirements-core.txt --constraint "$here"
}

build_overlay() {
    say "building vision_msgs and cv_bridge (about a minute)"
    local build="$venv/overlay"
    rm -rf "$build"
    mkdir "$build"
    ( # joined by &&, because set -e does not hold before ||
        export PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
        cmake -S interfaces/vision_msgs -B "$build/vision_msgs" -DBUILD_TESTING=OFF \
            -DCMAKE_INSTALL_PREFIX="$venv" -DPython3_EXECUTABLE="$python" &&
            cmake --build "$build/vision_msgs" --parallel "$(nproc)" &&
            DESTDIR="$build/stage" cmake --install "$build/vision_msgs" &&
            # Replaced, not written over: a running process may have the old libraries mapped.
            cp -a --remove-destination "$build/stage$venv/." "$venv/"
    ) >>"$log" 2>&1 || failed "vision_msgs cannot be built"
    cp -r interfaces/cv_bridge "$build/"
    pip_install --no-deps --no-build-isolation --force-reinstall "$build/cv_bridge"
    rm -rf "$build"
}

check_imports() {
    local modules="rclpy, vision_msgs.msg, sensor_msgs.msg, cv_bridge, cv2, torchvision, ultralytics"
    (cd / && YOLO_AUTOINSTALL=false "$python" -c "import $modules, rosbags, re_pose_ros") \
        >>"$log" 2>&1 || failed "the finished .venv does not work: $(tail -n 1 "$log")"
}

make_venv
if ! stamped .setup "$stamp"; then
    rm -f "$venv/.setup" "$venv/.setup-test"
    remove_halves
    if [ $mode = ros ]; then
        install_beside_ros
    else
        install_wheels
        build_overlay
    fi
    pip_install --no-deps --no-build-isolation --editable .
    check_imports
    echo "$stamp" >"$venv/.setup"
fi
if [ $with_test = 1 ]; then
    say "installing what the tests need"
    constraints=constraints.txt
    [ $mode = wheels ] || constraints="$venv/constraints.txt"
    pip_install --requirement requirements-test.txt --constraint "$constraints"
    echo "$test_stamp" >"$venv/.setup-test"
fi
say "done"
