# Probe of container ovn-controller.
case $1 in
  ready)
    status=$(ovn-appctl -t ovn-controller connection-status)
    [[ $status == connected ]]
    ;;
  alive)
    ovn-appctl -t ovn-controller version >/dev/null
    ;;
esac
