# Probe of container ovn-controller; the argument is `ready` or `alive`. An idle pod is both.
set -o errexit -o nounset -o pipefail

[[ -e ${DPUNETOP_STATE:-/dpunetop/state}/entry ]] || exit 0
case $1 in
  ready)
    status=$(ovn-appctl -t ovn-controller connection-status)
    [[ $status == connected ]]
    ;;
  alive)
    ovn-appctl -t ovn-controller version >/dev/null
    ;;
esac
