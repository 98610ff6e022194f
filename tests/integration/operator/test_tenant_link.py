"""The link to a tenant while everything runs: credentials that change or go bad, a tenant that goes and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, SECRETS, SERVICEACCOUNTS
from dpunetop.sandbox import seed
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.world import World
from support.agedtoken import aged
from support.faultproxy import FaultProxy
from support.trial import ACCOUNT, Trial, decoded, encoded, eventually

pytestmark = pytest.mark.timeout(600)

API_SERVERS_LEEWAY = timedelta(minutes=1)
"""By how much an API server forgives a token that is not valid yet: DefaultLeeway of go-jose's package jwt."""


@pytest.fixture
def way(world: World) -> Iterator[FaultProxy]:
    """A way to the tenant that a test may cut or silence."""
    with FaultProxy.before(world.tenant) as proxy:
        yield proxy


def through(way: FaultProxy, trial: Trial) -> None:
    """Have the operator take that way."""
    trial.store_kubeconfig(way.kubeconfig(trial.token()))


def ready_through(way: FaultProxy, trial: Trial) -> None:
    """A tenant that is served, by that way."""
    through(way, trial)
    trial.store_overrides()
    trial.create_config()
    trial.settled()


def credential(trial: Trial) -> str:
    """The token that pods mount."""
    return decoded(trial.get(SECRETS, names.TENANT_CREDENTIAL), names.CREDENTIAL_FILE_KEY)


def operators_writes(world: World, since: int, *parts: str) -> list[str]:
    """Verb and path of each effective write of the operator that has `parts` in its path."""
    account = f"system:serviceaccount:{seed.OPERATOR_NAMESPACE}:{seed.OPERATOR_ACCOUNT}"
    found = world.infra.audit_events(user=account, since=since)
    writes = [event for event in found if event["verb"] in ("create", "patch", "update", "delete")]
    return [f"{e['verb']} {e['requestURI']}" for e in writes if all(part in e["requestURI"] for part in parts)]


def new_authority(trial: Trial) -> str:
    """Change the tenant's `ovn-ca`; its new content."""
    text = Authority("ovn-next").pem.decode()
    trial.tenant.patch(trial.tenant_path(CONFIGMAPS, names.OVN_CA), {"data": {"ca-bundle.crt": text}})
    return text


def wait_for_copy(trial: Trial, text: str) -> None:
    """Wait until infra's `ovn-ca` has that content."""
    copy = trial.path(CONFIGMAPS, names.OVN_CA)
    trial.infra.wait_for(copy, lambda obj: (obj.get("data") or {}).get("ca-bundle.crt") == text)


def waits_for(trial: Trial) -> str:
    """What the DpuNode of the first DPU says that it lacks to be protected."""
    return str((condition_of(trial.get(names.DPUNODES, trial.nodes[0]), "Protected") or {}).get("message", ""))


def changed(trial: Trial, before: dict[str, tuple[str, str]]) -> Iterator[str]:
    """What is another than it was, but for pods."""
    now = trial.dpu_status().items()
    return (place for place, mark in now if before.get(place) != mark and "pods/" not in place)


# --- the Secret changes -----------------------------------------------------------------------------------------------


def test_a_rotated_token_is_used_at_once_and_written_once(trial: Trial, world: World) -> None:
    trial.ready()
    before = trial.dpu_status()
    token, mark = trial.token(7200), world.infra.audit_mark()
    trial.store_kubeconfig(trial.kubeconfig(token=token))
    eventually(lambda: credential(trial), lambda text: text == token)
    trial.wait("Ready", "True")
    assert trial.dpu_status()["daemonsets/ovnkube-node"] == before["daemonsets/ovnkube-node"]
    wait_for_copy(trial, new_authority(trial))  # what comes after the switch has arrived, so nothing is under way
    assert len(operators_writes(world, mark, trial.namespace, names.TENANT_CREDENTIAL)) == 1
    expected = {"secrets/dpunetop-tenant-credential", "secrets/dpunetop-tenant-kubeconfig", "configmaps/ovn-ca"}
    eventually(lambda: {*changed(trial, before)} - {"daemonsets/ovnkube-node"}, expected.__eq__)  # for the authority
    assert not [event for event in trial.events() if "TenantReachable is False" in event["note"]]


def test_a_secret_that_goes_bad_changes_nothing_but_a_condition(trial: Trial) -> None:
    trial.ready()
    before = trial.dpu_status()
    trial.store_secret({names.KUBECONFIG_KEY: encoded("garbage: [")})
    condition = trial.wait("CredentialsValid", "False", "InvalidKubeconfig")
    assert condition["message"].endswith("The last good one stays in use")
    trial.wait_event("InvalidKubeconfig", "The last good one stays in use")
    assert trial.condition("TenantReachable")["status"] == "True"
    assert trial.dpu_status() == before
    wait_for_copy(trial, new_authority(trial))
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


def test_deleting_the_secret_does_not_end_the_dpuclusterconfig(trial: Trial) -> None:
    trial.ready()
    before, kubeconfig = trial.dpu_status(), trial.get(SECRETS, trial.names.secret)["data"]
    trial.delete_secret()
    condition = trial.wait("CredentialsValid", "False", "SecretNotFound")
    assert condition["message"].endswith("The last good one stays in use")
    assert trial.condition("TenantReachable")["status"] == "True"
    assert trial.dpu_status() == before
    trial.store_secret(kubeconfig)
    trial.wait("CredentialsValid", "True")
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def test_a_start_without_a_good_secret_uses_the_stored_credential(trial: Trial, operator: OperatorProcess) -> None:
    trial.ready()
    trial.store_secret({names.KUBECONFIG_KEY: encoded("garbage: [")})
    trial.wait("CredentialsValid", "False", "InvalidKubeconfig")
    before = trial.dpu_status()
    operator.restart()
    operator.wait_ready()
    wait_for_copy(trial, new_authority(trial))
    trial.wait("TenantReachable", "True")
    assert trial.condition("CredentialsValid")["reason"] == "InvalidKubeconfig"
    after = trial.dpu_status()
    assert after["secrets/dpunetop-tenant-credential"] == before["secrets/dpunetop-tenant-credential"]
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


# --- the tenant goes and comes back -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "reason"), [("refuse", "Reset"), ("black_hole", "Timeout")], ids=["refused", "black-holed"]
)
def test_a_tenant_that_is_down_at_the_start_is_found_when_it_comes(
    trial: Trial, way: FaultProxy, cut: str, reason: str
) -> None:
    getattr(way, cut)()
    through(way, trial)
    trial.store_overrides()
    trial.create_config()
    condition = trial.wait("TenantReachable", "False")
    assert condition["reason"] in (reason, "Refused")
    trial.wait_event(condition["reason"], "TenantReachable is False")
    trial.wait("CredentialsValid", "Unknown", "NotVerified")
    trial.wait("McpReady", "True")
    trial.wait("TenantObjsSynced", "Unknown", "TenantNotRead")
    trial.wait("OvnKubeReady", "False", "TenantNotRead")
    trial.wait("Ready", "False")
    eventually(lambda: waits_for(trial), lambda words: words.startswith("TenantReachable: "))
    way.restore()
    trial.wait("TenantReachable", "True")
    trial.wait("Ready", "True")


@pytest.mark.parametrize("cut", ["refuse", "black_hole"], ids=["refused", "black-holed"])
def test_a_tenant_that_goes_leaves_all_that_runs(trial: Trial, way: FaultProxy, cut: str) -> None:
    ready_through(way, trial)
    before = trial.dpu_status()
    getattr(way, cut)()
    condition = trial.wait("TenantReachable", "False", "Unreachable")
    assert condition["message"].endswith("what runs is kept as it is")
    trial.wait_event("Unreachable", "what runs is kept as it is")
    trial.wait("Ready", "False", "Unreachable")
    assert trial.dpu_status() == before
    text = new_authority(trial)
    _infra_is_still_looked_after(trial)
    way.restore()
    trial.wait("TenantReachable", "True")
    wait_for_copy(trial, text)
    trial.wait("Ready", "True")


def _infra_is_still_looked_after(trial: Trial) -> None:
    """What people break in infra is repaired, and a DPU that comes is configured."""
    entries = trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"]
    trial.infra.patch(
        trial.path(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES), {"data": {trial.nodes[0]: "TENANT_K8S_NODE=x\n"}}
    )
    trial.infra.delete(trial.path(DAEMONSETS, names.OVNKUBE_NODE))
    look = trial.path(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)
    trial.infra.wait_for(look, lambda obj: obj.get("data") == entries)
    trial.infra.wait_for(trial.path(DAEMONSETS, names.OVNKUBE_NODE), bool)
    trial.nodes.append(f"{trial.pool}-late")
    trial.add_node(trial.nodes[-1])
    eventually(lambda: trial.condition("McpReady")["message"], lambda text: "all 2 machines" in text)


def test_a_start_while_the_tenant_is_down_leaves_all_that_runs(
    trial: Trial, way: FaultProxy, operator: OperatorProcess
) -> None:
    ready_through(way, trial)
    before = trial.dpu_status()
    way.refuse()
    operator.restart()
    operator.wait_ready()
    trial.wait("TenantReachable", "False")
    trial.wait("TenantObjsSynced", "Unknown", "TenantNotRead")
    condition = trial.wait("OvnKubeReady", "False", "TenantNotRead")
    assert condition["message"].endswith("what runs is kept as it is")
    assert trial.dpu_status() == before
    way.restore()
    trial.wait("TenantReachable", "True")
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def test_one_tenant_that_is_silent_holds_up_no_other(trial: Trial, new_trial: Any, way: FaultProxy) -> None:
    ready_through(way, trial)
    way.black_hole()
    other = new_trial()
    other.ready()
    wait_for_copy(other, new_authority(other))
    other.delete_config()
    eventually(other.config, lambda config: not config)


# --- the tenant takes its trust back ----------------------------------------------------------------------------------


def test_a_revoked_token_is_named_and_a_new_one_taken(trial: Trial, world: World) -> None:
    trial.ready()
    before = trial.dpu_status()
    account = trial.tenant_path(SERVICEACCOUNTS, ACCOUNT)
    trial.tenant.delete(account)
    condition = trial.wait("CredentialsValid", "False", "Unauthorized")
    trial.wait_event("Unauthorized", "CredentialsValid is False")
    assert condition["status"] == "False"
    trial.wait("TenantReachable", "True")
    trial.wait("Ready", "False", "Unauthorized")
    assert trial.dpu_status() == before
    world.tenant.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": trial.tenant_namespace},
        }
    )
    trial.store_kubeconfig()
    trial.wait("CredentialsValid", "True")
    trial.wait("Ready", "True")


def test_a_malformed_token_is_reported(trial: Trial) -> None:
    trial.store_kubeconfig(trial.kubeconfig(token="never.was.one"))
    trial.store_overrides()
    trial.create_config()
    trial.wait("CredentialsValid", "False", "Unauthorized")
    trial.wait("TenantReachable", "True", "Answered")
    assert trial.get(SECRETS, names.TENANT_CREDENTIAL) == {}
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


def test_a_token_of_another_time_is_named_and_taken_once_it_is_valid(trial: Trial, world: World) -> None:
    key = (world.tenant.folder / "sa.key").read_bytes()

    def of(ago: timedelta) -> dict[str, Any]:
        return trial.kubeconfig(token=aged(trial.token(7200), key, ago))

    trial.store_kubeconfig(of(timedelta(hours=3)))
    trial.store_overrides()
    trial.create_config()
    assert "its token ended on " in trial.wait("CredentialsValid", "False", "Expired")["message"]
    eventually(lambda: waits_for(trial), lambda words: words.startswith("CredentialsValid: "))
    trial.store_kubeconfig(of(-API_SERVERS_LEEWAY - timedelta(seconds=15)))
    said = trial.wait("CredentialsValid", "False", "Unauthorized")["message"]
    assert "its token is valid only from" in said
    assert "compare the clocks of both sides" in said
    trial.wait("CredentialsValid", "True")
    trial.wait("Ready", "True")


# --- its certificate ends ---------------------------------------------------------------------------------------------


def test_the_end_of_its_certificate_is_told_before_it_comes_and_once_it_has_come(way: FaultProxy, trial: Trial) -> None:
    way.certify(timedelta(seconds=25))
    ready_through(way, trial)
    trial.wait("TenantReachable", "True", "ServingCertificateExpiresSoon")
    trial.wait_event("ServingCertificateExpiresSoon", "its administrator has to renew it before")
    before = trial.dpu_status()
    said = trial.wait("TenantReachable", "False")
    assert "its certificate has expired; its administrator has to renew it" in said["message"]
    assert list(changed(trial, before)) == []
    way.certify(timedelta(days=365))
    trial.wait("TenantReachable", "True", "Reachable")
    trial.wait("Ready", "True")


def test_a_certificate_that_is_not_valid_yet_is_told_and_taken_once_it_is(way: FaultProxy, trial: Trial) -> None:
    way.certify(timedelta(days=365), begins_in=timedelta(seconds=15))
    through(way, trial)
    trial.store_overrides()
    trial.create_config()
    said = trial.wait("TenantReachable", "False", "TLS")["message"]
    assert "its certificate is not valid yet; compare the clocks of both sides" in said
    trial.wait("Ready", "True")
