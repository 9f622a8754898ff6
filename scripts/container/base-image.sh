#!/bin/sh
# Print the name of a base image that this machine has, for `docker build --build-arg BASE_IMAGE=...`.
#
# It is the Dockerfile's own where the engine has it or can pull it. Where no registry can be reached, a stand-in is
# made from Debian packages: the same parts (Python with pip, a CA bundle) and the same layout of the file system.
#   SUITE=trixie scripts/container/base-image.sh     the stand-in with another Debian release's Python
set -eu

suite=${SUITE:-}
here=$(dirname "$0")
default=$(sed -n 's/^ARG BASE_IMAGE=//p' "$here/../../Dockerfile")
if [ -z "$suite" ] && { docker image inspect "$default" || timeout 120 docker pull "$default"; } >/dev/null 2>&1; then
    echo "$default"
    exit
fi

suite=${suite:-bookworm}
image=cloudoptim/python-base:$suite
if docker image inspect "$image" >/dev/null 2>&1; then
    echo "$image"
    exit
fi
if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "base-image.sh: $default cannot be pulled, and a stand-in needs root and debootstrap" >&2
    exit 1
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates "$suite" "$root" >&2
# A proxy's own authority, if this machine trusts one: pip in the build meets it too.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/man
tar -C "$root" --one-file-system --exclude=./proc/* --exclude=./sys/* -c . | docker import - "$image" >&2
echo "$image"
