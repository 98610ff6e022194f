# Last part of the entry script of container ovnkube-node.
take_entry
prepare_ovnkube
for side in nb sb; do
  addresses=OVN_${side^^}_DB_LIST
  need "--$side-address=${!addresses}"
  need "--$side-client-privkey=/ovn-cert/tls.key"
  need "--$side-client-cert=/ovn-cert/tls.crt"
  need "--$side-client-cacert=/ovn-ca/ca-bundle.crt"
  need "--$side-cert-common-name=ovn"
done
need --config-file=/run/ovnkube-config/ovnkube.conf
hold_until 0 "$poll" misses_nothing
untrack_with_tables iptables 6081
untrack_with_tables ip6tables 6081
start_ovnkube
