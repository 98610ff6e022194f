"""Stand-in for OVN-Kubernetes on DPUs with a zone each: its writes about the hosts in the tenant."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from dpunetop.base.stop import Stop
from dpunetop.domain.names import (
    CHASSIS_ANNOTATION,
    ENCAP_IPS_ANNOTATION,
    GATEWAY_ANNOTATION,
    LEASE_PREFIX,
    OVNKUBE_CONFIG,
    OVNKUBE_CONTROLLER,
    OVNKUBE_NODE,
    OVNKUBE_NODE_ENTRIES,
    ZONE_ANNOTATION,
)
from dpunetop.domain.ovnkube.conf import parse_ovnkube_conf
from dpunetop.domain.ovnkube.release import Flavour, Release, release_of
from dpunetop.domain.pairing.entries import entries_of, serving_nodes
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, LEASES, NODES, PODS, Key
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, namespace_of, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.standins.engine import StandIn, StandInEngine
from dpunetop.sandbox.standins.kubelet import address

HOLD_LEASE_ANNOTATION = "standin.dpu.openshift.io/hold-lease"
"""On a pod: it is Ready but does not renew the Lease of its host."""

_HOLDER = "ovnkube-dpu-node"
_INTERVAL, _DURATION = "--dpu-node-lease-renew-interval=", "--dpu-node-lease-duration="
_NAMESPACE = "--ovn-config-namespace="
_AGAIN_SECONDS = 1.0


class Zones(StandIn):
    """The ovnkube of all pods with a zone.

    Guarantees: a Ready pod that serves a host makes the writes of its release, in the same order and through the same
        subresource, and renews the host's Lease at the configured interval, or never. A pod that is not Ready writes
        nothing. Its release is that of the tenant's nodes. The Lease is in the namespace that the mounted
        `ovnkube.conf` names, and is deleted with the host's Node.
    """

    name = "zones"

    def __init__(self, tenant: ControlPlane) -> None:
        self._tenant = tenant
        self._guard = threading.Lock()  # guards _due
        self._due: dict[str, float] = {}  # uid of a pod at work -> when its ovnkube renews next; monotonic

    def attach(self, engine: StandInEngine, enqueue: Callable[[Key], None]) -> None:
        """See `StandIn.attach`."""
        self._engine = engine
        self._pods = engine.follow(
            PODS, lambda pod: enqueue(Key(engine.cluster, namespace_of(pod), name_of(pod))) if has_zone(pod) else None
        )

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `StandIn.reconcile`; it repeats as long as the pod runs."""
        pod = self._pods.get(key.namespace, key.name)
        if pod is None:
            return None
        if not is_at_work(pod):
            self._forget(pod)
            return None
        host = self._host(pod)
        if host is None:
            return _AGAIN_SECONDS
        self._show(pod, host)
        interval, valid = lease_numbers(pod)
        if not interval:
            return None
        left = self._seconds_left(pod, interval)
        if not left and HOLD_LEASE_ANNOTATION not in annotations_of(pod):
            self._renew(pod, host, valid)
        return left or float(interval)

    def _host(self, pod: Obj) -> Obj | None:
        """The tenant Node that the pod serves."""
        entries, dpu = self._config_map(pod, OVNKUBE_NODE_ENTRIES), pod["spec"]["nodeName"]
        if dpu not in serving_nodes(entries, [pod]):
            return None
        name = host_of(dpu, entries_of(entries).get(dpu, ""))
        return self._tenant.admin.get_or_empty(get(NODES, "", name).target) or None

    def _show(self, pod: Obj, host: Obj) -> None:
        has = annotations_of(host)
        for wanted in shown(name_of(host), pod["spec"]["nodeName"], self._release(pod)):
            if not wanted.items() <= has.items():
                path = f"{get(NODES, '', name_of(host)).target}/status"
                self._tenant.admin.patch(path, {"metadata": {"annotations": wanted}})

    def _release(self, pod: Obj) -> Release | None:
        namespace = config_namespace(pod, self._config_map(pod, OVNKUBE_CONFIG))
        return release_of(self._tenant.admin.get_or_empty(get(DAEMONSETS, namespace, OVNKUBE_NODE).target), None)

    def _forget(self, pod: Obj) -> None:
        with self._guard:
            self._due.pop(uid_of(pod), None)

    def _seconds_left(self, pod: Obj, interval: int) -> float:
        """Seconds until its ovnkube renews the Lease; 0: it is due now, and then again after `interval`."""
        now = self._engine.clock.monotonic()
        with self._guard:
            if (left := self._due.get(uid_of(pod), now) - now) > 0:
                return left
            self._due[uid_of(pod)] = now + interval
        return 0.0

    def _renew(self, pod: Obj, host: Obj, valid_seconds: int) -> None:
        namespace = config_namespace(pod, self._config_map(pod, OVNKUBE_CONFIG))
        wanted = lease(namespace, host, valid_seconds, self._engine.clock.now())
        self._tenant.admin.apply_at(get(LEASES, namespace, name_of(wanted)).target, wanted, self.manager)

    def _config_map(self, pod: Obj, name: str) -> Obj | None:
        try:
            return self._engine.client.get(CONFIGMAPS, namespace_of(pod), name)
        except NotFound:
            return None


def has_zone(pod: Obj) -> bool:
    """Whether this is one of our pods with databases of its own."""
    named = {container["name"] for container in pod["spec"]["containers"]}
    return labels_of(pod).get("app") == OVNKUBE_NODE and {"nbdb", OVNKUBE_CONTROLLER} <= named


def is_at_work(pod: Obj) -> bool:
    """Whether its ovnkube runs; here it runs once the pod is Ready."""
    return not is_terminating(pod) and (condition_of(pod, "Ready") or {}).get("status") == "True"


def lease_numbers(pod: Obj) -> tuple[int, int]:
    """The renew interval and the duration of the Lease in the options of its ovnkube; 0: no Lease.

    It plays releases without a Lease by default.
    """
    [controller] = [each for each in pod["spec"]["containers"] if each["name"] == OVNKUBE_CONTROLLER]
    return _number(controller, _INTERVAL), _number(controller, _DURATION)


def shown(host: str, dpu: str, release: Release | None) -> tuple[dict[str, str], dict[str, str]]:
    """The two patches that a DPU's ovnkube writes onto its host, in order.

    By go-controller/pkg/node of ovn-kubernetes in mode `dpu`, at release-1.3 and at 8871cd9ce (master):
    default_node_network_controller.go, Init, writes the first; then gateway_init.go, initGatewayPreStart, the second
    (util/node_annotations.go has the form of each value).
    """
    gateway = {
        "mode": "shared",
        "bridge-id": "br-ex",
        "interface-id": f"br-ex_{host}",
        "mac-address": "52:54:00:12:34:56",
        "ip-addresses": [f"{address(host)}/24"],
        "ip-address": f"{address(host)}/24",
        "next-hops": ["192.0.2.1"],
        "next-hop": "192.0.2.1",
        "node-port-enable": "true",
        "vlan-id": "0",
    }
    first = {**({ZONE_ANNOTATION: host} if writes_zone(release) else {}), ENCAP_IPS_ANNOTATION: f'["{address(dpu)}"]'}
    chassis = str(uuid.uuid5(uuid.NAMESPACE_DNS, dpu))
    return first, {GATEWAY_ANNOTATION: json.dumps({"default": gateway}), CHASSIS_ANNOTATION: chassis}


def writes_zone(release: Release | None) -> bool:
    """Whether that release still writes the zone: upstream's master does not (41f539cb2), and reports version 1.3."""
    return release is not None and release.flavour is Flavour.OPENSHIFT and release.version < (4, 23)


def lease(namespace: str, host: Obj, valid_seconds: int, now: datetime) -> dict[str, Any]:
    """The Lease of a host with the current renewTime."""
    spec = {
        "holderIdentity": _HOLDER,
        "leaseDurationSeconds": valid_seconds,
        "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    made = new_object(LEASES, namespace, f"{LEASE_PREFIX}{name_of(host)}", spec=spec)
    owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(host), "uid": uid_of(host), "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    return made


def config_namespace(pod: Obj, config_map: Obj | None) -> str:
    """The namespace of OVN-Kubernetes, from its options, else from its configuration."""
    [controller] = [each for each in pod["spec"]["containers"] if each["name"] == OVNKUBE_CONTROLLER]
    if told := [text.removeprefix(_NAMESPACE) for text in controller.get("args") or () if text.startswith(_NAMESPACE)]:
        return str(told[0])
    assert config_map is not None, "a pod without its configuration does not start"
    values = parse_ovnkube_conf(config_map["data"]["ovnkube.conf"]).values
    return next(value for section, key, value in values if (section, key) == ("kubernetes", "ovn-config-namespace"))


def _number(container: Obj, option: str) -> int:
    found = [text.removeprefix(option) for text in container.get("args") or () if text.startswith(option)]
    return int(found[0]) if found else 0
