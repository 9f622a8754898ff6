#!/bin/sh
# `make container-test`: build the image and see it work. Arguments go to pytest; PYTHON is the interpreter to use.
#   K3S_IMAGE=rancher/k3s:...   the bundle in a K3s as well
#   TEST_KUBECONFIG=...         the bundle on that cluster as well
# Without an engine it fails. With CONTAINER_TEST=optional it says so, loudly, and lets the rest of a build go on.
set -eu
cd "$(dirname "$0")/../.."

if ! started=$(scripts/container/engine.sh) || ! BASE_IMAGE=${BASE_IMAGE:-$(scripts/container/base-image.sh)}; then
    {
        echo "########################################################################"
        echo "## THE CONTAINER TESTS DID NOT RUN. The reason is in the lines above. ##"
        echo "########################################################################"
    } >&2
    [ "${CONTAINER_TEST:-}" = optional ]
    exit
fi
if [ -n "$started" ]; then
    # Until it is gone, another could not start.
    trap 'kill "$started"; while kill -0 "$started" 2>/dev/null; do sleep 0.2; done' EXIT
fi
export BASE_IMAGE
"${PYTHON:-python3}" -m pytest tests/container "$@"
