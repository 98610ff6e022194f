# Last part of the entry script of container ovn-controller.
#
# The chassis bears the name of the tenant host: ovnkube leaves the name alone on a DPU, and older images bind ports to
# the host's. The southbound database is the one in this pod; an address that a central tenant left behind leads away.
name_chassis() {
  if ! ovs-vsctl --timeout=15 set Open_vSwitch . \
    "external_ids:hostname=\"$TENANT_K8S_NODE\"" \
    "external_ids:host-k8s-nodename=\"$TENANT_K8S_NODE\"" \
    'external_ids:ovn-remote="unix:/var/run/ovn/ovnsb_db.sock"' 2>"$errors"; then
    open_vswitch_is_away
    return 1
  fi
}

take_entry
hold_until "$patience" "$poll" name_chassis
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
