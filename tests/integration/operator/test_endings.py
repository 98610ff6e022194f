"""Every ending is safe, in whatever order a person takes things away: on real servers, with the shipped rights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, NODES, PODS, ROLEBINDINGS, Resource
from dpunetop.kube.meta import annotations_of, new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from support.drainrules import is_cordoned
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(1500)

NewTrial = Callable[..., Trial]
SLOW = 120.0


def host_node(trial: Trial, host: str) -> Obj:
    return trial.tenant.get(get(NODES, "", host).target)


def entries(trial: Trial) -> set[str]:
    """DPUs that serve."""
    return set(trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data") or {})


def maintained(trial: Trial) -> list[str]:
    """Hosts of the trial that are in a maintenance."""
    named = (get(names.NODEMAINTENANCES, "", names.maintenance_name(h)).target for h in trial.names.pairs.values())
    return [found["spec"]["nodeName"] for found in map(trial.tenant.get_or_empty, named) if found]


def protections(trial: Trial) -> list[str]:
    """Budgets and blockers of the trial's DPUs."""
    kinds = (names.PODDISRUPTIONBUDGETS, DEPLOYMENTS)
    return [path for n in trial.nodes for kind in kinds if trial.infra.get_or_empty(path := protection(trial, kind, n))]


def protection(trial: Trial, kind: Resource, dpu: str) -> str:
    return get(kind, trial.world.quick_start.namespace, names.blocker_name(dpu)).target


def told(trial: Trial, reason: str) -> dict[str, str]:
    """What Events of that reason say of the trial's DPUs, by DPU."""
    events = trial.infra.list_all("/apis/events.k8s.io/v1/namespaces/default/events")
    about = ((event["regarding"].get("name"), event) for event in events if event["reason"] == reason)
    return {str(name): event["note"] for name, event in about if name in trial.nodes}


def ready(new_trial: NewTrial, dpus: int = 1, **spec: object) -> Trial:
    trial = new_trial(dpus=dpus)
    trial.ready(**spec)
    eventually(lambda: entries(trial), lambda found: found == set(trial.nodes), SLOW)
    assert len(protections(trial)) == 2 * dpus
    return trial


def test_a_deleted_config_leads_its_hosts_out_one_by_one_and_one_made_anew_takes_them_back(
    new_trial: NewTrial,
) -> None:
    trial = ready(new_trial, dpus=2)
    assert "deleting this DpuClusterConfig drains the hosts" in trial.condition("Ready")["message"]
    trial.delete_config()
    most = 0

    def look() -> Obj:
        nonlocal most
        most = max(most, len(maintained(trial)))
        return trial.config()

    eventually(look, lambda config: not config, SLOW)
    assert most == 1
    hosts = [host_node(trial, host) for host in trial.names.pairs.values()]
    assert all(is_cordoned(host) and annotations_of(host)[names.LEFT_BY_ANNOTATION] for host in hosts)
    assert eventually(lambda: set(told(trial, "HostLetGo")), lambda found: found == set(trial.nodes))
    assert told(trial, "HostCutOff") == {}
    trial.create_config()
    trial.wait("Ready", "True", within=SLOW)
    for host in trial.names.pairs.values():
        found = eventually(partial(host_node, trial, host), lambda node: not is_cordoned(node), SLOW)
        assert names.LEFT_BY_ANNOTATION not in annotations_of(found)


@contextmanager
def blocked(trial: Trial, host: str) -> Iterator[None]:
    """A pod that a budget of the tenant holds on a host."""
    namespace, labels = trial.tenant_namespace, {"test.dpu.openshift.io/stays": "yes"}
    budget = new_object(names.PODDISRUPTIONBUDGETS, namespace, "stays")
    budget["spec"] = {"maxUnavailable": 0, "selector": {"matchLabels": labels}}
    pod = new_object(PODS, namespace, "stays", spec={"nodeName": host, "containers": [{"name": "c", "image": "i"}]})
    pod["metadata"]["labels"] = labels
    trial.world.tenant.apply([budget, pod])
    path = trial.tenant_path(PODS, "stays")
    eventually(lambda: trial.tenant.get(path), lambda found: (found.get("status") or {}).get("phase") == "Running")
    yield
    trial.tenant.delete(trial.tenant_path(names.PODDISRUPTIONBUDGETS, "stays"))
    trial.tenant.delete(path, {"gracePeriodSeconds": 0})


def test_a_host_that_cannot_be_drained_is_waited_for_by_name_until_the_end_is_forced(new_trial: NewTrial) -> None:
    trial = ready(new_trial)
    [(dpu, host)] = trial.names.pairs.items()
    with blocked(trial, host):
        trial.delete_config()
        said = eventually(lambda: trial.condition("Ready")["message"], lambda text: "is being drained" in text, SLOW)
        assert said.startswith(f"1 hosts are drained first, and left cordoned: {host}; ")
        assert f"Annotate {names.FORCE_DELETE_ANNOTATION}=yes" in said
        assert entries(trial) == {dpu}
        trial.annotate(force_delete="yes")
        eventually(trial.config, lambda config: not config, SLOW)
    words = f"no longer serves host {host}, which is not known to be drained"
    eventually(lambda: told(trial, "HostCutOff"), lambda found: words in found.get(dpu, ""))
    assert protections(trial) == []


def test_a_namespace_that_is_deleted_ends_with_everything_and_names_whom_it_cuts_off(new_trial: NewTrial) -> None:
    trial = ready(new_trial)
    [(dpu, host)] = trial.names.pairs.items()
    trial.infra.delete(trial.path(NAMESPACES, trial.namespace))
    eventually(lambda: trial.get(NAMESPACES, trial.namespace), lambda found: not found, SLOW)
    assert protections(trial) == []
    assert host in eventually(lambda: told(trial, "HostCutOff"), lambda found: dpu in found)[dpu]
    assert trial.infra.get(trial.path(NODES, dpu))["spec"].get("unschedulable") is None


def test_rights_that_go_first_let_hosts_be_led_out_and_nothing_closed_is_left(new_trial: NewTrial) -> None:
    trial = ready(new_trial)
    [(dpu, host)] = trial.names.pairs.items()
    trial.infra.delete(trial.path(ROLEBINDINGS, "dpunetop-tenant"))
    trial.delete_config()
    eventually(trial.config, lambda config: not config, SLOW)
    assert protections(trial) == []
    assert is_cordoned(host_node(trial, host))
    assert annotations_of(host_node(trial, host))[names.LEFT_BY_ANNOTATION]
    eventually(lambda: set(told(trial, "HostLetGo")), lambda found: found == {dpu})


def test_a_namespace_goes_also_while_its_dpu_is_being_drained(new_trial: NewTrial) -> None:
    trial = ready(new_trial)
    [(dpu, _)] = trial.names.pairs.items()
    trial.infra.patch(trial.path(NODES, dpu), {"spec": {"unschedulable": True}})
    budget = protection(trial, names.PODDISRUPTIONBUDGETS, dpu)
    eventually(lambda: trial.infra.get(budget)["spec"]["maxUnavailable"], lambda most: most == 1, SLOW)
    trial.infra.delete(trial.path(NAMESPACES, trial.namespace))
    eventually(lambda: trial.get(NAMESPACES, trial.namespace), lambda found: not found, SLOW)
    assert (protections(trial), maintained(trial)) == ([], [])
