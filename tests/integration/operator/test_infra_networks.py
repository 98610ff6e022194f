"""A tenant's kubeconfig that leads into infra's own networks: nothing is asked there, whatever it looks like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.kube.keys import NODES
from dpunetop.sandbox import seed
from support.trial import OUR_OBJECTS, Trial

pytestmark = pytest.mark.timeout(300)


def a_service(trial: Trial) -> str:
    """The way to infra's API server that every pod has."""
    return str(trial.infra.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"])


def a_pod(trial: Trial) -> str:
    """An address out of the part of the pods' network that a Node has."""
    node = seed.dpu_node(f"{trial.pool}-other")
    node["spec"] = {"podCIDR": "198.51.100.0/24", "podCIDRs": ["198.51.100.0/24"]}
    trial.infra.create("/api/v1/nodes", node)
    trial.nodes.append(node["metadata"]["name"])
    assert trial.get(NODES, node["metadata"]["name"])["spec"]["podCIDRs"]
    return "198.51.100.7"


PLACES: dict[str, Callable[[Trial], str]] = {
    "the Service of infra's API server": a_service,
    "a pod, by the Node": a_pod,
    "a pod, by OpenShift's Network": lambda _: "10.130.0.9",
    "a Service, by OpenShift's Network": lambda _: "172.30.0.10",
    "a Service, wrapped into IPv6": lambda _: "[::ffff:172.30.0.10]",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_kubeconfig_that_leads_into_infra_is_refused(trial: Trial, place: Callable[[Trial], str]) -> None:
    trial.store_kubeconfig(trial.kubeconfig(url=f"https://{place(trial)}:443"))
    trial.store_overrides()
    trial.create_config()
    said = trial.wait("TenantReachable", "False", "AddressRefused")
    assert "of the infra cluster" in said["message"]
    assert not any(trial.get(resource, name) for resource, name in OUR_OBJECTS[:3])
    trial.store_kubeconfig()
    trial.wait("Ready", "True")
