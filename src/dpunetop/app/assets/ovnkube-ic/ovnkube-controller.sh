# Second part of the entry script of container ovnkube-controller: node and zone in one process, on behalf of the tenant
# host. Its arguments are options of ovnkube that the tenant's settings ask for; those that this image does not know are
# left out, because one would keep it from starting.
said=''

# Say what the databases of the zone are to be like. They start beside this container, so the first tries may fail.
settle() {
  until "$@"; do
    say_once 'waiting for the databases of the zone'
    pause "$poll"
  done
}

settle_databases() {
  settle ovn-nbctl --timeout=10 --inactivity-probe=60000 set-connection punix:/var/run/ovn/ovnnb_db.sock
  settle ovn-sbctl --timeout=10 --inactivity-probe="$OVN_CONTROLLER_INACTIVITY_PROBE" \
    set-connection punix:/var/run/ovn/ovnsb_db.sock
  settle ovn-nbctl --timeout=10 set NB_Global . \
    "name=\"$TENANT_K8S_NODE\"" \
    "options:name=\"$TENANT_K8S_NODE\"" \
    "options:northd_probe_interval=$OVN_NORTHD_PROBE_INTERVAL" \
    "options:northd-backoff-interval-ms=$OVN_NORTHD_BACKOFF_MS"
}

# Run iptables or its like. In some images it is a wrapper for a host file system that is not mounted here; the program
# behind it is tried then.
tables() {
  "$@" >/dev/null 2>&1 || xtables-nft-multi "$@" >/dev/null 2>&1
}

# All or nothing, and the same rules however often it is done.
untrack_with_nft() {
  local chain
  {
    printf 'add table inet ovn_notrack\nflush table inet ovn_notrack\n'
    for chain in prerouting output; do
      printf 'add chain inet ovn_notrack %s { type filter hook %s priority raw; }\n' "$chain" "$chain"
      printf 'add rule inet ovn_notrack %s udp dport %s notrack\n' "$chain" "$OVN_ENCAP_PORT"
    done
  } | nft -f - >/dev/null 2>&1
}

untrack_with_tables() {
  local chain
  for chain in PREROUTING OUTPUT; do
    tables "$1" -w 10 -t raw -C "$chain" -p udp --dport "$OVN_ENCAP_PORT" -j NOTRACK ||
      tables "$1" -w 10 -t raw -A "$chain" -p udp --dport "$OVN_ENCAP_PORT" -j NOTRACK ||
      log "$1 cannot be used here: Geneve stays tracked in $chain"
  done
}

# Keep Geneve out of connection tracking. It costs speed, not connectivity, if that cannot be done.
untrack_geneve() {
  if ! untrack_with_nft; then
    untrack_with_tables iptables
    untrack_with_tables ip6tables
  fi
}

# Take option $1 from key $2 of Open vSwitch, where whoever set up this DPU says what differs from the default.
option_of_host() {
  local value
  value=$(ovs-vsctl --timeout=15 --if-exists get Open_vSwitch . "external_ids:$2")
  value=${value//\"/}
  if [[ -n ${value:-${3:-}} ]]; then
    options+=("$1=${value:-${3:-}}")
  fi
}

knows() {
  [[ $help =~ (^|[[:space:],])$1([[:space:],=]|$) ]]
}

take_entry
help=$(ovnkube --help 2>&1 || true)
if ! knows --init-node; then
  log 'ovnkube does not tell its options'
  exit 1
fi
settle_databases
untrack_geneve

options=(
  --init-ovnkube-controller "$TENANT_K8S_NODE"
  --init-node "$TENANT_K8S_NODE"
  --zone "$TENANT_K8S_NODE"
  --ovnkube-node-mode dpu
  --encap-ip "$NODE_IP"
  --k8s-kubeconfig=/var/run/secrets/tenant-kubeconfig/kubeconfig
  --loglevel "$OVN_KUBE_LOG_LEVEL"
  --inactivity-probe="$OVN_CONTROLLER_INACTIVITY_PROBE"
  --gateway-mode shared
  --metrics-bind-address 127.0.0.1:29103
)
option_of_host --gateway-interface ovn-gw-interface br-ex
option_of_host --gateway-nexthop ovn-gw-nexthop
option_of_host --gateway-vlanid ovn-gw-vlanid
option_of_host --gateway-router-subnet ovn-gw-router-subnet
for option; do
  if knows "${option%%=*}"; then
    options+=("$option")
  else
    log "this image does not know ${option%%=*}: left out"
  fi
done

# Two names: this process is the tenant host's; some images ask for that of the DPU beside it.
export K8S_NODE_DPU=$K8S_NODE K8S_NODE=$TENANT_K8S_NODE
exec ovnkube "${options[@]}"
