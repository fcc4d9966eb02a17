#!/usr/bin/env bash
# Makes .venv-blender: Blender as a Python module, which needs Python 3.11 exactly, in an environment
# of its own, from requirements-blender.lock. Every file is checked against a hash in the lock.
# The lock is made again by:
#   echo bpy==5.0.1 | .venv/bin/uv pip compile --generate-hashes --no-annotate --python-version 3.11 \
#       --python-platform x86_64-manylinux_2_28 --output-file requirements-blender.lock -
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-blender
lock=requirements-blender.lock
# What Blender is linked with and does not bring: it opens no window, and does not start without.
libraries=(libgl1 libice6 libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1)

is_suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON311:-python3.11 python3 .venv/bin/python}; do
        if is_suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "engines: Blender needs Python 3.11 exactly, and ${PYTHON311:-there is no python3.11 here}." >&2
    echo "engines: install it, or name it: make engines PYTHON311=/path/to/python3.11" >&2
    return 1
}

starts() {
    "$venv/bin/python" -c 'import bpy; assert bpy.app.version_string == "5.0.1"' 2>/dev/null
}

python=$(find_python)
if ! is_suitable "$venv/bin/python"; then
    echo "engines: $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
if ! cmp -s "$lock" "$venv/installed.lock"; then
    echo "engines: installing Blender (374 MB)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --requirement "$lock"
    cp "$lock" "$venv/installed.lock"
fi
if ! starts && command -v apt-get >/dev/null; then
    sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo)
    fi
    echo "engines: installing ${libraries[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${libraries[@]}" >/dev/null
fi
if ! starts; then
    echo "engines: Blender does not start; of Debian's packages it needs: ${libraries[*]}" >&2
    "$venv/bin/python" -c 'import bpy' >&2 || true
    exit 1
fi
echo "engines: done"
