# Last part of the entry script of containers nbdb and sbdb: one database of the zone, OVN_DATABASE says which.
#
# The zone is the tenant host. A database of another zone is forgotten, be it of a host that this DPU served before or of
# the infra cluster, whose nodes keep theirs in the same place: ovnkube writes all of it anew from the tenant.
databases=${DPUNETOP_DATABASES:-/etc/ovn}

forget_other_zone() {
  local file="$databases/ovn${OVN_DATABASE}_db.db" mark="$databases/ovn${OVN_DATABASE}_db.zone" zone=''
  if [[ -r $mark ]]; then
    zone=$(<"$mark")
  fi
  if [[ $zone == "$TENANT_K8S_NODE" ]]; then
    return
  fi
  if [[ -e $file ]]; then
    log "forgetting the database of ${zone:-an unknown zone}"
    rm -f "$file"
  fi
  printf '%s\n' "$TENANT_K8S_NODE" >"$mark.new"
  mv -f "$mark.new" "$mark"
}

take_entry
forget_other_zone
# A process id that has been given to another process since would pass for a server that runs.
rm -f "/var/run/ovn/ovn${OVN_DATABASE}_db.pid"
PATH=$PATH:/usr/share/ovn/scripts
exec ovn-ctl \
  --no-monitor \
  "--db-$OVN_DATABASE-sock=/var/run/ovn/ovn${OVN_DATABASE}_db.sock" \
  "--ovn-$OVN_DATABASE-log=-vconsole:$OVN_LOG_LEVEL -vfile:off" \
  "run_${OVN_DATABASE}_ovsdb"
