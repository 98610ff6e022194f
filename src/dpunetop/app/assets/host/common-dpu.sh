# What the DPU scripts share. Sourced: defines functions and constants, does nothing.
# DPU_SYSFS, DPU_TRIES and DPU_PAUSE_SECONDS stand in for the real tree and pace in tests and by hand.
export LC_ALL=C

readonly SYSFS=${DPU_SYSFS:-/sys}
readonly TRIES=${DPU_TRIES:-10}
readonly PAUSE_SECONDS=${DPU_PAUSE_SECONDS:-3}

log() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# read_attribute FILE: puts its first line into REPLY; empty when there is none (the kernel refuses to read many).
read_attribute() {
    REPLY=
    { read -r REPLY <"$1"; } 2>/dev/null || :
}

# is_bluefield FOLDER: whether this PCI device is a port of a BlueField-2 or BlueField-3.
is_bluefield() {
    read_attribute "$1/vendor"
    [[ $REPLY == 0x15b3 ]] || return 1
    read_attribute "$1/device"
    [[ $REPLY == 0xa2d6 || $REPLY == 0xa2dc ]]
}

# read_port_number INTERFACE: puts N into REPLY if it is the uplink of port N of a BlueField, whatever its name is.
# Representors hang on the same PCI device; what the kernel calls their port tells them apart.
read_port_number() {
    local folder=$SYSFS/class/net/$1
    is_bluefield "$folder/device" || return 1
    read_attribute "$folder/phys_port_name"
    [[ $REPLY =~ ^p([0-9]+)$ ]] || return 1
    REPLY=${BASH_REMATCH[1]}
}

# uplinks_below INTERFACE...: prints "N name" for each BlueField uplink that these are or stand on (VLAN, bond, ...).
uplinks_below() {
    local -a waiting=("$@")
    local -A seen=()
    local interface lower
    while ((${#waiting[@]} > 0)); do
        interface=${waiting[0]}
        waiting=("${waiting[@]:1}")
        if [[ -z $interface || -n ${seen[$interface]:-} ]]; then
            continue
        fi
        seen[$interface]=1
        if read_port_number "$interface"; then
            printf '%s %s\n' "$REPLY" "$interface"
        fi
        for lower in "$SYSFS/class/net/$interface"/lower_*; do
            if [[ -e $lower || -L $lower ]]; then
                waiting+=("${lower##*/lower_}")
            fi
        done
    done
}

# read_host_representor N UPLINK: puts the interface into REPLY that leads to the host's physical function N on the same
# switch as the uplink. Kernels differ in the name of the port, so in that of the interface: it is not looked at.
read_host_representor() {
    local number=$1 switch port folder
    read_attribute "$SYSFS/class/net/$2/phys_switch_id"
    switch=$REPLY
    if [[ -z $switch ]]; then
        return 1
    fi
    for port in "c1pf$number" "c1pf${number}hpf" "pf$number" "pf${number}hpf"; do
        for folder in "$SYSFS"/class/net/*; do
            read_attribute "$folder/phys_port_name"
            [[ $REPLY == "$port" ]] || continue
            read_attribute "$folder/phys_switch_id"
            [[ $REPLY == "$switch" ]] || continue
            REPLY=${folder##*/}
            return 0
        done
    done
    return 1
}
