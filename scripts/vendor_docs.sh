#!/usr/bin/env bash
# Puts Swagger UI and ReDoc, at pinned versions and hashes, where the node serves them from.
# To raise one: change its version and hash here, run this, look at /docs and /redoc.
set -euo pipefail
cd "$(dirname "$0")/.."
target=coordinator/http/static
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

take() { # package, version, sha256 of its archive, members
    local package=$1 version=$2 hash=$3 member
    shift 3
    (cd "$folder" && npm pack --silent "$package@$version" >/dev/null)
    echo "$hash  $folder/$package-$version.tgz" | sha256sum --check --quiet
    tar -xzf "$folder/$package-$version.tgz" -C "$folder"
    for member in "$@"; do
        cp "$folder/package/$member" "$target/$(basename "$member")"
    done
    cp "$folder/package/LICENSE" "$target/$package.LICENSE"
    rm -rf "$folder/package"
}

take swagger-ui-dist 5.35.0 1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6 swagger-ui-bundle.js swagger-ui.css
take redoc 2.5.4 44922df4d0eb45c1b066c09ec251e6bd9bd7ded16bc69e87613337b9d911a56e bundles/redoc.standalone.js
