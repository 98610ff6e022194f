# Second part of the entry script of container ovn-controller.
#
# The chassis bears the name of the tenant host: ovnkube leaves the name alone on a DPU, and older images bind ports to
# the host's. The southbound database is the one in this pod; an address that a central tenant left behind leads away.
take_entry
ovs-vsctl --timeout=15 set Open_vSwitch . \
  "external_ids:hostname=\"$TENANT_K8S_NODE\"" \
  "external_ids:host-k8s-nodename=\"$TENANT_K8S_NODE\"" \
  'external_ids:ovn-remote="unix:/var/run/ovn/ovnsb_db.sock"'
exec ovn-controller unix:/var/run/openvswitch/db.sock \
  -vfile:off \
  -vconsole:"$OVN_LOG_LEVEL" \
  --no-chdir \
  --pidfile=/var/run/ovn/ovn-controller.pid \
  --log-file=/var/log/ovn/acl-audit-log.log \
  --syslog-method="$OVN_AUDIT_SYSLOG_METHOD" \
  -vFACILITY:"$OVN_AUDIT_FACILITY" \
  -vconsole:acl_log:off \
  -vsyslog:acl_log:info \
  -vfile:acl_log:info
