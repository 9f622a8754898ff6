#!/bin/sh
# `make lock`: renew constraints.txt, every package of the image with its version and the hashes of its files, and
# sbom.txt beside this script, the same for what writes the image's bill of materials. Wants Python 3.12, that of the
# Dockerfile's base image; what has other needs under 3.11 would fail in `pip check`.
#   UPGRADE=1 make lock       newer versions of everything; without it, only what setup.cfg now needs
set -eu
cd "$(dirname "$0")/../.."

tool=.venv/lock
[ -x "$tool/bin/pip-compile" ] || {
    "${PYTHON:-python3.12}" -m venv "$tool"
    "$tool/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
}
compile() {
    output=$1
    shift
    "$tool/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
        --no-emit-index-url --no-emit-find-links ${UPGRADE:+--upgrade} --output-file "$output" "$@"
    sed -i "1i # Made by make lock: versions and hashes. The Dockerfile installs exactly this list." "$output"
}

compile constraints.txt setup.cfg scripts/container/build.in
compile scripts/container/sbom.txt scripts/container/sbom.in
