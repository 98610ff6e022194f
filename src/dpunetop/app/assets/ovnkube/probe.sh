# First part of all probes; the argument is `ready` or `alive`. A pod that idles is both. A container that waits for what
# keeps it from serving is alive, and says why it is not ready.
set -o errexit -o nounset -o pipefail

state=${DPUNETOP_STATE:-/dpunetop/state}
[[ -e $state/entry ]] || exit 0
if [[ -e $state/held.$0 ]]; then
  [[ $1 == ready ]] || exit 0
  printf '%s\n' "$(<"$state/held.$0")"
  exit 1
fi
