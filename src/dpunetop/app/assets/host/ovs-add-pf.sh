#!/bin/bash
# Attaches the representor of the host's physical function to br-ex, so that the host reaches the network by the DPU.
# Runs after ovs-configuration and must not fail it where there is nothing to attach: the node would lose its network.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/common-dpu.sh"

# Interfaces by which br-ex leaves the node: what NetworkManager put there, else whatever Open vSwitch has.
bridge_interfaces() {
    local devices
    devices=$(timeout 30 nmcli --get-values GENERAL.DEVICES connection show ovs-if-phys0 2>/dev/null) || devices=
    if [[ -n $devices ]]; then
        printf '%s\n' "${devices//,/$'\n'}"
    else
        ovs-vsctl --timeout=30 list-ports br-ex || :
    fi
}

# attach_host N UPLINK: representors may come up later than their port, so it is tried again.
attach_host() {
    local try
    for ((try = 1; try <= TRIES; try++)); do
        if ! read_host_representor "$1" "$2"; then
            log "$2 has no representor of the host's function $1 beside it (try $try of $TRIES)"
        elif ovs-vsctl --timeout=30 --may-exist add-port br-ex "$REPLY"; then
            log "$REPLY, the host's side of $2, is in br-ex"
            return 0
        fi
        sleep "$PAUSE_SECONDS"
    done
    return 1
}

mapfile -t interfaces < <(bridge_interfaces)
uplinks=$(uplinks_below "${interfaces[@]}" | sort -n)
if [[ -z $uplinks ]]; then
    log "br-ex leaves by ${interfaces[*]:-no interface}, which is no BlueField port: nothing to attach"
    exit 0
fi
# One is enough, and the lowest port comes first: with two, br-ex would close a loop through the host.
while read -r number uplink <&3; do
    if attach_host "$number" "$uplink"; then
        exit 0
    fi
done 3<<<"$uplinks"
log "br-ex has no way to the host: is the port in switchdev mode?"
exit 1
