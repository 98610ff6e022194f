# Last part of the entry script of container ovn-acl-logging: show the audit log, and keep it within its bounds.
audit_log=${DPUNETOP_AUDIT_LOG:-/var/log/ovn/acl-audit-log.log}
interval=${DPUNETOP_ROTATE_SECONDS:-30}

# Have ovn-controller write to a new file. It may not run yet, or be on its way out; the next round tries again.
reopen() {
  ovn-appctl -t ovn-controller --timeout=10 vlog/reopen >/dev/null 2>&1 || true
}

rotate() {
  local size=0
  if [[ -e $audit_log ]]; then
    size=$(stat -c %s "$audit_log")
  fi
  if ((size > OVN_AUDIT_MOST_MEGABYTES * 1000000)); then
    mv "$audit_log" "${audit_log%.log}.$(TZ=UTC printf '%(%Y-%m-%dT%H-%M-%S)T' -1).log"
  fi
  if [[ ! -e $audit_log ]]; then
    reopen
  fi
}

# Names have the time in them, so their order is their age. The one that is written to counts too.
prune() {
  local -a old=()
  local name
  for name in "${audit_log%.log}".*.log; do
    [[ -e $name ]] && old+=("$name")
  done
  while ((${#old[@]} >= OVN_AUDIT_MOST_FILES && ${#old[@]} > 0)); do
    rm -f "${old[0]}"
    old=("${old[@]:1}")
  done
}

take_entry
tail -n 0 -F "$audit_log" 2>/dev/null &
shown=$!
trap 'kill "$shown" 2>/dev/null || true; exit 0' TERM INT
while true; do
  rotate
  prune
  pause "$interval"
done
