# First part of all entry scripts: learn which tenant host this pod works for, and say what keeps it from working.
#
# Entries are rendered by the operator, one file per DPU node. The first container that sees an entry pins it for the
# life of the pod: all containers then serve the same host, and one that restarts goes on as before, whatever happens
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
patience=${DPUNETOP_PATIENCE_SECONDS:-60}
message=${DPUNETOP_MESSAGE:-/dev/termination-log}
held="$state/held.$0"
told="$state/told.$0"
errors="$state/errors.$0"
said='' before=''

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
  local offered="$entries/$K8S_NODE" since=''
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
  if [[ -e $told ]]; then
    before=$(<"$told")
    rm -f "$told"
  fi
}

say_once() {
  if [[ $said != "$1" ]]; then
    log "$1"
    said=$1
  fi
}

# Wait until the command "${@:3}" finds nothing that keeps this container from serving. It tries each $2 seconds; when it
# fails it leaves what it found in `cause`, a word and names for the operator, and in `words`, for people.
#
# What a restart does not mend must not become a crash loop, and must not stay unsaid. So the container is alive and not
# Ready, and its probe prints the words, which puts them into the Events of its pod. If that lasts for $1 seconds it ends
# once: the message of a container that has ended is all that a pod without rights can put into its own status, where the
# operator reads it (domain/unready.py). One that comes back after that goes on waiting; one that was killed meanwhile
# ends once more, since its message is lost.
hold_until() {
  local most=$1 pace=$2 since=$SECONDS
  shift 2
  until "$@"; do
    printf 'dpunetop: %s\n%s\n' "$cause" "$words" >"$held.new"
    mv -f "$held.new" "$held"
    if [[ $said != "$cause" ]]; then
      log "$words"
      said=$cause
    fi
    if [[ $before != "$cause" ]] && ((SECONDS - since >= most)); then
      printf '%s\n' "$cause" >"$told"
      cat "$held" >"$message"
      exit 1
    fi
    pause "$pace"
  done
  rm -f "$held"
}

# Say so as a cause; what it said instead is in the file `errors`.
open_vswitch_is_away() {
  local error
  error=$(head -c 300 "$errors")
  cause=OpenVSwitchAway
  words="Open vSwitch of this DPU does not answer, look at ovsdb-server and ovs-vswitchd there: ${error//$'\n'/ }"
}
