#!/usr/bin/env bash
# Makes or refreshes the virtual environment given as $1 from the lock given as $2 (requirements.lock).
# Every file that is downloaded, build tools included, is checked against a hash in the lock.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
lock=${2:-requirements.lock}

is_suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "set-up: ${PYTHON:-no python3 on PATH} is not Python 3.11, 3.12 or 3.13." >&2
    echo "set-up: install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
    return 1
}

# fastecdsa (of libp2p) has no wheel at the version that libp2p pins: it needs a compiler, the
# headers of GMP and those of Python.
can_compile() {
    local include
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    printf '#include <Python.h>\n#include <gmp.h>\nint main(void) { return 0; }\n' |
        gcc -x c -I"$include" - -lgmp -o /dev/null 2>/dev/null
}

has_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

install_system_packages() {
    local packages=("$@") sudo=()
    if ! command -v apt-get >/dev/null; then
        echo "set-up: install what these Debian packages hold: ${packages[*]}" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo)
    fi
    echo "set-up: installing ${packages[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

python=$(find_python)
if ! can_compile || ! has_venv; then
    packages=(gcc libc6-dev libgmp-dev)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    # Only a distribution's own Python keeps headers and venv in packages of their own.
    if [ "$python" -ef "/usr/bin/python$version" ]; then
        packages+=("python$version-dev" "python$version-venv")
    fi
    install_system_packages "${packages[@]}"
    can_compile || { echo "set-up: a C program with Python.h and gmp.h does not compile" >&2; exit 1; }
fi

# A miner runs foreign bytes under bubblewrap. Where it cannot be installed, such kinds are refused.
if ! command -v bwrap >/dev/null; then
    install_system_packages bubblewrap ||
        echo "set-up: no bubblewrap: jobs of foreign code or files will be refused" >&2
fi

if ! is_suitable "$venv/bin/python"; then
    echo "set-up: $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

# uv comes first, alone, from its entry in the same lock.
uv_entry=$(sed -n '/^uv==/,/[^\\]$/p' "$lock")
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement <(echo "$uv_entry")

uv=("$venv/bin/uv" --quiet)
target=(--python "$venv/bin/python" --build-constraints "$lock")
echo "set-up: installing $(grep -c '^[a-z0-9]' "$lock") locked packages"
"${uv[@]}" pip sync "${target[@]}" --require-hashes "$lock"
"${uv[@]}" pip install "${target[@]}" --no-deps --no-build-isolation --editable .
echo "set-up: done"
