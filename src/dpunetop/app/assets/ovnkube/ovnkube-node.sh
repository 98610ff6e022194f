# Second part of the entry script of container ovnkube-node.

# Run iptables or its like. In some images it is a wrapper for a host file system that is not mounted here; the program
# behind it is tried then.
tables() {
  "$@" >/dev/null 2>&1 || xtables-nft-multi "$@" >/dev/null 2>&1
}

# Keep Geneve out of connection tracking. It costs speed, not connectivity, if that cannot be done.
untrack_geneve() {
  local chain
  for chain in PREROUTING OUTPUT; do
    if tables "$1" -w 10 -t raw -C "$chain" -p udp --dport 6081 -j NOTRACK; then
      continue
    fi
    if ! tables "$1" -w 10 -t raw -A "$chain" -p udp --dport 6081 -j NOTRACK; then
      log "$1 cannot be used here: Geneve stays tracked in $chain"
    fi
  done
}

take_entry
untrack_geneve iptables
untrack_geneve ip6tables
exec ovnkube \
  --init-node "$TENANT_K8S_NODE" \
  --encap-ip "$NODE_IP" \
  --nb-address "$OVN_NB_DB_LIST" \
  --sb-address "$OVN_SB_DB_LIST" \
  --nb-client-privkey /ovn-cert/tls.key \
  --nb-client-cert /ovn-cert/tls.crt \
  --nb-client-cacert /ovn-ca/ca-bundle.crt \
  --nb-cert-common-name ovn \
  --sb-client-privkey /ovn-cert/tls.key \
  --sb-client-cert /ovn-cert/tls.crt \
  --sb-client-cacert /ovn-ca/ca-bundle.crt \
  --sb-cert-common-name ovn \
  --config-file=/run/ovnkube-config/ovnkube.conf \
  --k8s-kubeconfig=/var/run/secrets/tenant-kubeconfig/kubeconfig \
  --loglevel "$OVN_KUBE_LOG_LEVEL" \
  --inactivity-probe="$OVN_CONTROLLER_INACTIVITY_PROBE" \
  --gateway-mode shared \
  --gateway-interface br-ex \
  --ovnkube-node-mode dpu \
  --metrics-bind-address 127.0.0.1:29103
