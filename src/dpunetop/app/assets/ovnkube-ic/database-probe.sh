# Probe of containers nbdb and sbdb.
control="/var/run/ovn/ovn${OVN_DATABASE}_db.ctl"
case $1 in
  ready)
    status=$(ovn-appctl -t "$control" --timeout=5 ovsdb-server/sync-status)
    [[ $status == *'state: active'* ]]
    ;;
  alive)
    ovn-appctl -t "$control" --timeout=5 version >/dev/null
    ;;
esac
