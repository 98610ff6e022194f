# Probe of container northd; the argument is `ready` or `alive`. An idle pod is both.
set -o errexit -o nounset -o pipefail

[[ -e ${DPUNETOP_STATE:-/dpunetop/state}/entry ]] || exit 0
case $1 in
  ready)
    status=$(ovn-appctl -t ovn-northd --timeout=5 status)
    [[ $status == *'Status: active'* ]]
    ;;
  alive)
    ovn-appctl -t ovn-northd --timeout=5 version >/dev/null
    ;;
esac
