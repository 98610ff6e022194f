#!/bin/bash
# Says how udev is to name an interface of a BlueField card, and how many queues it gets.
#   $1  what the kernel calls the port (phys_port_name): p0, pf0, c1pf0, c1pf0vf3 ...
# Prints NAME= and COMBINED_QUEUES= as udev properties. On anything it does not know it prints nothing and fails:
# udev then leaves the interface alone.
# A host may set another number of queues with a line COMBINED_QUEUES=<n> in /etc/sysconfig/dpu-network; 0 changes none.
set -euo pipefail
export LC_ALL=C

readonly CONFIG=${DPU_CONFIG:-/etc/sysconfig/dpu-network}
readonly LONGEST_NAME=15

name=${1:-}
queues=4

if [[ ! $name =~ ^[A-Za-z0-9_-]+$ ]]; then
    exit 1
fi
if [[ $name =~ pf[0-9]+$ ]]; then
    name+=hpf # the host's physical function: told apart from the card's own
fi
if ((${#name} > LONGEST_NAME)); then
    exit 1
fi

if [[ -r $CONFIG ]]; then
    while IFS='=' read -r key value || [[ -n $key ]]; do
        if [[ $key == COMBINED_QUEUES && $value =~ ^(0|[1-9][0-9]{0,2})$ ]]; then
            queues=$value
        fi
    done <"$CONFIG"
fi

printf 'NAME=%s\n' "$name"
if [[ $queues != 0 ]]; then
    printf 'COMBINED_QUEUES=%s\n' "$queues"
fi
