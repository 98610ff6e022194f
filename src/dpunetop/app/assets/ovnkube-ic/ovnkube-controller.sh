# Last part of the entry script of container ovnkube-controller: node and zone in one process, on behalf of the tenant
# host. Its arguments are options of ovnkube that the tenant's settings ask for.

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

untrack_geneve() {
  if ! untrack_with_nft; then
    untrack_with_tables iptables "$OVN_ENCAP_PORT"
    untrack_with_tables ip6tables "$OVN_ENCAP_PORT"
  fi
}

# What the tenant's settings ask for: without these the zone would be in another network than its neighbours, or renew
# the Lease where they do not look; without the others it serves.
pass_on() {
  local option
  for option; do
    case ${option%%=*} in
      --config-file | --cluster-subnets | --k8s-service-cidrs | --mtu | --encap-port | --ovn-config-namespace)
        need "$option"
        ;;
      *) offer "$option" ;;
    esac
  done
}

take_entry
prepare_ovnkube
need "--init-ovnkube-controller=$TENANT_K8S_NODE"
# Where there is no such option, a zone is always named by its node.
offer "--zone=$TENANT_K8S_NODE"
pass_on "$@"
hold_until 0 "$poll" misses_nothing
settle_databases
untrack_geneve
# Two names: this process is the tenant host's; some images ask for that of the DPU beside it.
export K8S_NODE_DPU=$K8S_NODE K8S_NODE=$TENANT_K8S_NODE
start_ovnkube
