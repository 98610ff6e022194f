# First part of both entry scripts: learn which tenant host this pod works for.
#
# Entries are rendered by the operator, one file per DPU node. The first container that sees an entry pins it for the
# life of the pod: both containers then serve the same host, and one that restarts goes on as before, whatever happens
# to the entries meanwhile. A pod without an entry idles and is Ready. When its entry comes, the operator replaces the
# pod; only if that does not happen within the grace does an idle pod take the entry up by itself.
#
# In a pod's command Kubernetes turns two dollar signs into one and fills in names of variables in parentheses; this
# text has neither.
set -o errexit -o nounset -o pipefail
export LC_ALL=C

entries=${DPUNETOP_ENTRIES:-/dpunetop/entries}
state=${DPUNETOP_STATE:-/dpunetop/state}
poll=${DPUNETOP_POLL_SECONDS:-5}
grace=${DPUNETOP_GRACE_SECONDS:-120}

log() {
  TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T %s\n' -1 "$1"
}

# Set the variables that the file $1 may set, and no others; fail if it names no host.
read_entry() {
  local key value
  TENANT_K8S_NODE=''
  [[ -r $1 ]] || return 1
  while IFS='=' read -r key value || [[ -n $key ]]; do
    case $key in
      TENANT_K8S_NODE | OVN_KUBE_LOG_LEVEL | OVN_LOG_LEVEL | OVN_CONTROLLER_INACTIVITY_PROBE)
        if [[ $value =~ ^[A-Za-z0-9._:,-]+$ ]]; then
          export "$key=$value"
        fi
        ;;
    esac
  done <"$1"
  [[ $TENANT_K8S_NODE =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]]
}

# Pin the entry $1 for the life of the pod. A link is made whole or not at all, so the first container wins.
pin_entry() {
  local copy="$state/entry.$BASHPID"
  if cp "$1" "$copy" && (read_entry "$copy"); then
    ln "$copy" "$state/entry" 2>/dev/null || true
  fi
  rm -f "$copy"
}

pause() {
  sleep "$1" &
  wait "$!"
}

# Return once this pod serves a host; the variables of its entry are set then.
take_entry() {
  local offered="$entries/$K8S_NODE" since='' said=''
  trap 'exit 0' TERM INT
  until [[ -e $state/entry ]]; do
    if ! (read_entry "$offered"); then
      since=''
      : >"$state/idle"
      if [[ -e $offered ]]; then
        say_once "the entry of node $K8S_NODE names no host: idle"
      else
        say_once "node $K8S_NODE has no entry: idle"
      fi
    elif [[ ! -e $state/idle ]] || ((SECONDS - ${since:=$SECONDS} >= grace)); then
      pin_entry "$offered"
      continue
    else
      say_once "node $K8S_NODE has an entry now: idle until this pod is replaced, or for $grace s"
    fi
    pause "$poll"
  done
  read_entry "$state/entry"
  log "serving host $TENANT_K8S_NODE"
}

say_once() {
  if [[ $said != "$1" ]]; then
    log "$1"
    said=$1
  fi
}
