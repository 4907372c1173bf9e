#!/bin/sh
# Builds dist/rendernet_jax-VERSION-py3-none-any.whl of the commit that is checked out: the same commit, the same bytes.
# Files come from git with the commit's time and fixed modes, so neither a clock, an umask nor stray files matter.
# BIN: the environment's programs (default .venv/bin); WHEELS: where the wheel goes (default dist).
set -eu
umask 022
cd "$(dirname "$0")/.."
bin=$(cd "${BIN:-.venv/bin}" && pwd)
mkdir -p "${WHEELS:-dist}"
out=$(cd "${WHEELS:-dist}" && pwd)

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
git -c tar.umask=0022 archive HEAD | tar -x -p -C "$tree"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) "$bin/python" -m pip wheel -q --disable-pip-version-check --no-deps \
    --no-build-isolation --no-index --wheel-dir "$out" "$tree"
sha256sum "$out"/rendernet_jax-*.whl
