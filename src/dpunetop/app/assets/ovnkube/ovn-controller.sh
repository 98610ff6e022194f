# Last part of the entry script of container ovn-controller. Where the southbound database is, ovnkube writes into
# Open vSwitch.
take_entry
exec ovn-controller unix:/var/run/openvswitch/db.sock \
  -vfile:off \
  -vconsole:"$OVN_LOG_LEVEL" \
  --no-chdir \
  --pidfile=/var/run/ovn/ovn-controller.pid \
  -p /ovn-cert/tls.key \
  -c /ovn-cert/tls.crt \
  -C /ovn-ca/ca-bundle.crt
