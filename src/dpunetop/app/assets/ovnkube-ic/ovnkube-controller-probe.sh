# Probe of container ovnkube-controller.
#
# ovnkube answers for its metrics before it has set up anything. So it is alive when it answers, and ready when the times
# that the set-up of the node and of the zone took are no longer zero.
exec 3<>"/dev/tcp/127.0.0.1/${DPUNETOP_METRICS_PORT:-29103}"
printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
IFS= read -r -t 4 status <&3
[[ $status == HTTP/*' 200 '* ]]
if [[ $1 == ready ]]; then
  took=$(grep -oE '^ovnkube_(node|controller)_ready_duration_seconds [0-9.]*[1-9]' <&3 | cut -d ' ' -f 1 | sort -u)
  [[ $took == *_controller_*_node_* ]]
fi
