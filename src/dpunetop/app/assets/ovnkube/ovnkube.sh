# Middle part of the entry scripts of ovnkube, whatever the topology: what this DPU says of itself, and which options this
# image's ovnkube takes. One option that it does not know keeps it from starting, so each is asked for, and releases
# differ: `--zone` and the addresses of databases are gone in 2026, for instance.
options=() missing=()
declare -A host=() known=()

# Read the keys $@ of Open vSwitch, where whoever set up this DPU says what differs from the default.
read_host() {
  local answer key value
  if ! answer=$(ovs-vsctl --timeout=15 --if-exists get Open_vSwitch . "${@/#/external_ids:}" 2>"$errors"); then
    open_vswitch_is_away
    return 1
  fi
  # A line for each, which is empty if there is none; the last of those are not in the answer.
  for key; do
    IFS= read -r value || value=''
    value=${value//\"/}
    host[$key]=${value//[[:space:]]/}
  done < <(printf '%s\n' "$answer")
}

# Learn the options, which are the first words of their lines: the text about one may name others, of other releases.
ask_ovnkube() {
  local word
  while read -r word _; do
    word=${word%%[,=]*}
    if [[ $word =~ ^--[a-z0-9-]+$ ]]; then
      known[$word]=yes
    fi
  done < <(ovnkube --help 2>&1)
  if ((${#known[@]} == 0)); then
    cause=OptionsUnknown
    words="ovnkube of this image does not tell its options: is this an image of OVN-Kubernetes for this architecture?"
    return 1
  fi
}

knows() {
  [[ $1 =~ ^--[a-z0-9-]+$ && -n ${known[$1]-} ]]
}

# Pass $1 on, without which ovnkube cannot serve on a DPU, or serves in another way than it was told to.
need() {
  if knows "${1%%=*}"; then
    options+=("$1")
  else
    missing+=("${1%%=*}")
  fi
}

# Pass $1 on, or do without.
offer() {
  if knows "${1%%=*}"; then
    options+=("$1")
  else
    log "this image does not know ${1%%=*}: left out"
  fi
}

# Pass on as $1 what key $2 says, if it says anything.
need_of_host() {
  if [[ -n ${host[$2]} ]]; then
    need "$1=${host[$2]}"
  fi
}

misses_nothing() {
  if ((${#missing[@]} > 0)); then
    cause="OptionsMissing ${missing[*]}"
    words="ovnkube of this image does not know ${missing[*]}, without which it cannot serve on a DPU: take another image"
    return 1
  fi
}

# Before May 2023 ovnkube wanted the representor of the host's management port by name; since then it finds it by what the
# host says, and refuses a name (pkg/config/config.go, buildOvnKubeNodeConfig). The older ones lack an option that came
# shortly before that.
has_management_port() {
  read_host dpunetop-mgmt-port-netdev || return 1
  if ! knows --ovnkube-node-mgmt-port-dp-resource-name && [[ -z ${host[dpunetop-mgmt-port-netdev]} ]]; then
    cause=ManagementPortUnknown
    words="ovnkube of this image wants the name of the management port's representor on this DPU: set it as"
    words+=" external_ids:dpunetop-mgmt-port-netdev of Open vSwitch, or take an image from after May 2023"
    return 1
  fi
}

# Choose where tunnels end: where Open vSwitch says, as upstream's own start script has it (dist/images/ovnkube.sh), else
# at the node's address. ovnkube writes what it is given to the same key, so the node's is marked: it must not pass for
# somebody's wish once the node has another.
choose_tunnels() {
  tunnels=${host[ovn-encap-ip]}
  if [[ -z $tunnels || $tunnels == "$NODE_IP" || $tunnels == "${host[dpunetop-encap-ip]}" ]]; then
    tunnels=$NODE_IP
    mark_tunnels
  fi
}

mark_tunnels() {
  ovs-vsctl --timeout=15 --no-wait set Open_vSwitch . "external_ids:dpunetop-encap-ip=\"$NODE_IP\""
}

# What both topologies pass on.
need_common() {
  need "--init-node=$TENANT_K8S_NODE"
  need --ovnkube-node-mode=dpu
  need "--encap-ip=$tunnels"
  need --k8s-kubeconfig=/var/run/secrets/tenant-kubeconfig/kubeconfig
  need --gateway-mode=shared
  need "--gateway-interface=${host[ovn-gw-interface]:-br-ex}"
  need_of_host --gateway-nexthop ovn-gw-nexthop
  need_of_host --gateway-vlanid ovn-gw-vlanid
  need_of_host --gateway-router-subnet ovn-gw-router-subnet
  need_of_host --ovnkube-node-mgmt-port-netdev dpunetop-mgmt-port-netdev
  # The probes ask here.
  need --metrics-bind-address=127.0.0.1:29103
  offer "--loglevel=$OVN_KUBE_LOG_LEVEL"
  offer "--inactivity-probe=$OVN_CONTROLLER_INACTIVITY_PROBE"
}

# See to all that ovnkube is started with, but what is of one topology.
prepare_ovnkube() {
  hold_until 0 "$patience" ask_ovnkube
  hold_until "$patience" "$poll" read_host ovn-encap-ip dpunetop-encap-ip ovn-gw-interface ovn-gw-nexthop ovn-gw-vlanid \
    ovn-gw-router-subnet
  hold_until 0 "$poll" has_management_port
  choose_tunnels
  need_common
}

start_ovnkube() {
  # A node without a token is refused, also beside a kubeconfig, which is what is used then: cmd/ovnkube/ovnkube.go
  # (runOvnKube) and pkg/util/kube.go (newKubernetesRestConfig) of upstream, since 2019. Any text will do; a file of a
  # token (--k8s-token-file) will not.
  export K8S_TOKEN=see-the-kubeconfig
  exec ovnkube "${options[@]}"
}

# Run iptables or its like. In some images it is a wrapper for a host file system that is not mounted here; the program
# behind it is tried then.
tables() {
  "$@" >/dev/null 2>&1 || xtables-nft-multi "$@" >/dev/null 2>&1
}

# Keep Geneve at port $2 out of connection tracking. It costs speed, not connectivity, if that cannot be done.
untrack_with_tables() {
  local chain
  for chain in PREROUTING OUTPUT; do
    tables "$1" -w 10 -t raw -C "$chain" -p udp --dport "$2" -j NOTRACK ||
      tables "$1" -w 10 -t raw -A "$chain" -p udp --dport "$2" -j NOTRACK ||
      log "$1 cannot be used here: Geneve stays tracked in $chain"
  done
}
