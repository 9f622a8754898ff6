#!/bin/sh
# See to it that a container engine answers. Where none does, root gets Debian's started; its pid is printed, so that
# whoever asked can end it.
#
# The engine has neither bridge nor packet filter, which sandboxes rarely allow: builds and containers use the host's
# network.
set -eu

docker info >/dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "engine.sh: no container engine answers, and only root can start one" >&2
    exit 1
fi
if ! { command -v dockerd && command -v debootstrap; } >/dev/null; then
    if [ "${CI:-}" != true ]; then
        echo "engine.sh: no container engine answers: apt-get install docker.io debootstrap" >&2
        exit 1
    fi
    { apt-get update && apt-get install --yes --no-install-recommends docker.io debootstrap; } >/dev/null 2>&1 || {
        echo "engine.sh: docker.io and debootstrap cannot be installed" >&2
        exit 1
    }
fi

log=$(mktemp)
setsid dockerd --iptables=false --ip6tables=false --bridge=none >"$log" 2>&1 </dev/null &
pid=$!
for _ in $(seq 60); do
    if docker info >/dev/null 2>&1; then
        echo "$pid"
        exit 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
done
echo "engine.sh: dockerd does not come up:" >&2
tail -n 5 "$log" >&2
kill "$pid" 2>/dev/null || true
exit 1
