#!/bin/sh
# Fills .venv from third_party/requirements.lock; does nothing when it is already filled from this lock.
# PYTHON: the interpreter that makes .venv (default python3).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
# The checkout's path counts too: the editable install names it.
key=$( (pwd; cat third_party/requirements.lock third_party/setup.sh setup.cfg pyproject.toml) | cksum)
stamp=.venv/installed
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then exit 0; fi

stop() {
    echo "setup: $*" >&2
    exit 1
}

# Installs Debian packages as root; otherwise stops with the line to run.
need_packages() {
    if ! command -v apt-get >/dev/null; then
        stop "missing: $*; install your system's equivalents of these Debian packages, then run make again"
    elif [ "$(id -u)" -ne 0 ]; then
        stop "missing system packages; run: sudo apt-get install -y $*"
    fi
    echo "setup: installing system packages: $*"
    apt-get update -qq || stop "apt-get update failed; when it works, run: apt-get install -y $*"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        stop "apt-get failed; run: apt-get install -y $*"
}

command -v "$python" >/dev/null || stop "no $python; install Python 3.11 or newer, or name one: make PYTHON=path"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "expected Python 3.11 or newer, got $("$python" -V 2>&1); name another: make PYTHON=path"

packages=""
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages=python3-venv
if [ "$(uname -s)" = Linux ]; then  # what Open3D's wheels expect of the system
    for pair in libEGL.so.1=libegl1 libGL.so.1=libgl1 libX11.so.6=libx11-6 libidn2.so.0=libidn2-0 \
        libusb-1.0.so.0=libusb-1.0-0 libudev.so.1=libudev1; do
        "$python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "${pair%%=*}" 2>/dev/null ||
            packages="$packages ${pair#*=}"
    done
fi
# shellcheck disable=SC2086  # one word for each package
[ -z "$packages" ] || need_packages $packages

rm -f "$stamp"
# An interpreter that is gone (moved, upgraded) leaves a .venv that only a new one replaces.
.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || rm -rf .venv
[ -x .venv/bin/pip ] || "$python" -m venv .venv
echo "setup: installing third_party/requirements.lock into .venv"
# A lock has one answer: nothing is built, and extra options of the user's pip cannot loosen the hashes.
.venv/bin/python -m pip install -q --disable-pip-version-check --only-binary=:all: --require-hashes \
    -r third_party/requirements.lock
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
.venv/bin/python -c 'import open3d' || stop "Open3D does not import; see the lines above and third_party/README.md"
echo "$key" >"$stamp"
echo "setup: done"
