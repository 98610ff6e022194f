# Last part of the entry script of container northd: from the northbound database of the zone to its southbound one.
take_entry
exec ovn-northd \
  --no-chdir \
  -vfile:off \
  -vconsole:"$OVN_LOG_LEVEL" \
  --pidfile=/var/run/ovn/ovn-northd.pid \
  --ovnnb-db=unix:/var/run/ovn/ovnnb_db.sock \
  --ovnsb-db=unix:/var/run/ovn/ovnsb_db.sock
