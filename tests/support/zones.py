"""The rendered pod of an interconnect tenant as it runs on a DPU, without `ovnkube`: databases and what reads them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dpunetop.app.assets import interconnect_scripts
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.names import OVNKUBE_CONFIG, OVNKUBE_CONTROLLER, OVNKUBE_NODE_ENTRIES, TENANT_CREDENTIAL
from dpunetop.domain.ovnkube.interconnect import InterconnectHashes, InterconnectInput, interconnect_daemonset
from dpunetop.domain.ovnkube.settings import SettingsView, read_settings
from dpunetop.sandbox.realovn.clock import KubeletClock
from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovn.podspec import Identity
from support.tenants import openshift

DPU = "bf2-worker-1"
OWNER = Owner({"metadata": {"name": "c", "namespace": "default", "uid": "cr"}}, "0123")
PARTS = ("ovn-controller", "ovn-acl-logging", "northd", "nbdb", "sbdb")
# A kubelet that is ten times as fast, and scripts that look as much more often.
FAST = KubeletClock(0.1)
FAST_SCRIPTS = {"DPUNETOP_POLL_SECONDS": "0.2", "DPUNETOP_GRACE_SECONDS": "2", "DPUNETOP_ROTATE_SECONDS": "0.5"}


def template(view: SettingsView | None = None) -> dict[str, Any]:
    """The pod template for a tenant."""
    settings = read_settings(view or openshift((4, 22))).settings
    assert settings is not None
    given = InterconnectInput(
        namespace="default",
        owner=OWNER,
        image="ovn:1",
        node_selector={"matchLabels": {"pool": "dpu"}},
        settings=settings,
        hashes=InterconnectHashes("h1", "h2"),
        scripts=interconnect_scripts(),
    )
    whole: dict[str, Any] = interconnect_daemonset(given)["spec"]["template"]
    return whole


def without_ovnkube(whole: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The template less the container that needs a tenant, with more variables for all others."""
    part = copy.deepcopy(dict(whole))
    part["spec"]["containers"] = [one for one in part["spec"]["containers"] if one["name"] != OVNKUBE_CONTROLLER]
    for one in part["spec"]["containers"]:
        one["env"] += [{"name": name, "value": text} for name, text in (environment or {}).items()]
    return part


def entry(host: str) -> dict[str, str]:
    """Data of the ConfigMap with entries, where this DPU serves `host`."""
    return {DPU: f"TENANT_K8S_NODE={host}\n"}


def zone(dpu: Dpu, entries: Mapping[str, str], view: SettingsView | None = None) -> Pod:
    """A pod of the tenant on the DPU."""
    objects = {OVNKUBE_NODE_ENTRIES: entries, OVNKUBE_CONFIG: {}, TENANT_CREDENTIAL: {}}
    identity = Identity(DPU, dpu.addresses.dpu)
    return Pod(dpu, without_ovnkube(template(view), FAST_SCRIPTS), identity, objects, FAST)
