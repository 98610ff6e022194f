#!/bin/bash
# Puts every port of the BlueField into switchdev mode.
# Both ports are needed: with one left behind, its driver times out at boot and the host cannot reset the firmware.
# A port that refuses is tried again and never keeps the other one back; if one is left in the end, the unit fails.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/common-dpu.sh"

# By PCI device, because an interface may not be named yet, or be gone while its port changes mode.
find_ports() {
    local folder
    for folder in "$SYSFS"/bus/pci/devices/*; do
        if is_bluefield "$folder"; then
            ports+=("${folder##*/}")
        fi
    done
}

is_switchdev() {
    local answer
    answer=$(timeout 30 devlink dev eswitch show "pci/$1") || return 1
    [[ $answer =~ (^|[[:space:]])mode[[:space:]]+switchdev([[:space:]]|$) ]]
}

set_switchdev() {
    if is_switchdev "$1"; then
        log "pci/$1 is in switchdev mode"
        return 0
    fi
    log "pci/$1: setting switchdev mode"
    timeout 60 devlink dev eswitch set "pci/$1" mode switchdev || return 1
    is_switchdev "$1"
}

# One pass over the ports that are left; those that refused are left again.
try_ports() {
    local port
    local -a left=()
    for port in "${ports[@]}"; do
        if ! set_switchdev "$port"; then
            log "pci/$port is not in switchdev mode (try $1 of $TRIES)"
            left+=("$port")
        fi
    done
    ports=("${left[@]}")
}

declare -a ports=()
find_ports
if ((${#ports[@]} == 0)); then
    log "no BlueField port found: does this node belong to a pool of DPUs?"
    exit 1
fi
for ((try = 1; try <= TRIES; try++)); do
    try_ports "$try"
    if ((${#ports[@]} == 0)); then
        exit 0
    fi
    sleep "$PAUSE_SECONDS"
done
log "gave up on ${ports[*]}"
exit 1
