# Probe of container northd.
case $1 in
  ready)
    status=$(ovn-appctl -t ovn-northd --timeout=5 status)
    [[ $status == *'Status: active'* ]]
    ;;
  alive)
    ovn-appctl -t ovn-northd --timeout=5 version >/dev/null
    ;;
esac
