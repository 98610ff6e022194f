# Probe of container ovnkube-node.
#
# ovnkube answers for its metrics before it has set up the node. So it is alive when it answers, and ready when the time
# that the set-up took is no longer zero; a version that does not tell the time is ready when it answers.
exec 3<>"/dev/tcp/127.0.0.1/${DPUNETOP_METRICS_PORT:-29103}"
printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
IFS= read -r -t 4 status <&3
[[ $status == HTTP/*' 200 '* ]]
if [[ $1 == ready ]]; then
  took=$(grep -m 1 '^ovnkube_node_ready_duration_seconds ' <&3 || true)
  [[ $took != *' 0' ]]
fi
