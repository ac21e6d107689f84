#!/bin/sh
# Runs a command inside the lab's hypervisor while there is traffic between a neighbour on the
# wire and every guest of the scenario: ping, UDP and TCP echo.  `vmlat --lab` starts its agent so.
set -u
cd "$(dirname "$0")/.." || exit 1

if [ -z "${VMLAT_REMOTE_NS:-}" ] || [ $# -eq 0 ]; then
    echo "demo.sh: for inside the lab: vmlat lab run -- sh tools/demo.sh COMMAND..." >&2
    exit 2
fi

traffic=
stop() {
    # shellcheck disable=SC2086
    [ -z "$traffic" ] || kill $traffic 2>/dev/null
    traffic=
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

for domain in $VMLAT_DOMAINS; do
    address=$(printenv \
        "VMLAT_$(printf '%s' "$domain" | tr 'a-z-' 'A-Z_')_IP4")
    ip netns exec "$VMLAT_REMOTE_NS" ping -n -q -i 0.5 "$address" >/dev/null 2>&1 </dev/null &
    traffic="$traffic $!"
    ip netns exec "$VMLAT_REMOTE_NS" python3 tools/demo_traffic.py "$address" \
        >/dev/null 2>&1 </dev/null &
    traffic="$traffic $!"
done

"$@"
