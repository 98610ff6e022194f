"""Whom the DPU pods are in the tenant, with the operator running: minted, followed without a restart, taken away."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.errors import Unauthorized
from dpunetop.kube.keys import CLUSTERROLEBINDINGS, DAEMONSETS, ROLEBINDINGS, SECRETS, SERVICEACCOUNTS
from dpunetop.kube.requests import get
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support.agedtoken import aged, claims
from support.faultproxy import FaultProxy
from support.minting import minting_allowed
from support.trial import Trial, decoded, encoded, eventually

pytestmark = pytest.mark.timeout(900)

NOTICE_SECONDS = 120.0


@pytest.fixture
def minting(trial: Trial) -> Iterator[Trial]:
    """A tenant that lets us mint."""
    with minting_allowed(trial):
        yield trial


def token(trial: Trial) -> str:
    """The token that pods hold; empty if they hold none."""
    return decoded(trial.get(SECRETS, names.TENANT_CREDENTIAL), names.CREDENTIAL_FILE_KEY)


def user(trial: Trial) -> Any:
    """Whom the kubeconfig of the pods names."""
    text = decoded(trial.get(SECRETS, names.TENANT_CREDENTIAL), names.TENANT_CREDENTIAL_KEY)
    return json.loads(text)["users"][0]["user"]


def kubeconfig_token(trial: Trial) -> str:
    """The token of the given kubeconfig."""
    given = decoded(trial.get(SECRETS, trial.names.secret), names.KUBECONFIG_KEY)
    return str(json.loads(given)["users"][0]["user"]["token"])


TOKEN_FILE = {"tokenFile": "/var/run/secrets/tenant-kubeconfig/token"}


def in_tenant(trial: Trial) -> list[str]:
    """What there is of ours."""
    paths = [trial.tenant_path(resource, names.DPU_ACCOUNT) for resource in (SERVICEACCOUNTS, ROLEBINDINGS)]
    paths.append(get(CLUSTERROLEBINDINGS, "", names.DPU_ACCOUNT).target)
    return [path for path in paths if trial.tenant.get_or_empty(path)]


def generation(trial: Trial) -> int:
    """Changes exactly when the DaemonSet does."""
    return int(trial.get(DAEMONSETS, names.OVNKUBE_NODE)["metadata"]["generation"])


def test_pods_get_a_token_of_their_own_and_follow_it_without_a_restart(minting: Trial) -> None:
    minting.ready()
    assert minting.condition("DpuCredentialValid")["reason"] == "Minted"
    assert user(minting) == {"tokenFile": "/var/run/secrets/tenant-kubeconfig/token"}
    assert names.MINTED_IN_ANNOTATION in minting.get(SECRETS, names.TENANT_KUBECONFIG)["metadata"]["annotations"]
    before, pods, rolled = token(minting), {p["metadata"]["uid"] for p in minting.pods()}, generation(minting)
    minting.tenant.delete(minting.tenant_path(SERVICEACCOUNTS, names.DPU_ACCOUNT))
    eventually(lambda: token(minting), lambda now: now not in ("", before), 60)
    minting.wait("Ready", "True")
    assert generation(minting) == rolled
    assert {p["metadata"]["uid"] for p in minting.pods()} == pods


def test_a_damaged_token_is_replaced_and_a_lost_secret_comes_back(minting: Trial) -> None:
    minting.ready()
    path, before = minting.path(SECRETS, names.TENANT_CREDENTIAL), token(minting)
    minting.infra.patch(path, {"data": {names.CREDENTIAL_FILE_KEY: encoded("not.a.token")}})
    eventually(lambda: token(minting), lambda now: now not in ("", before, "not.a.token"), 60)
    minting.infra.delete(path)
    eventually(lambda: token(minting), bool, 60)
    minting.wait("Ready", "True")


def test_what_the_operator_forgets_it_finds_again(minting: Trial, operator: OperatorProcess) -> None:
    minting.ready()
    before, held = minting.dpu_status(), token(minting)
    operator.restart()
    operator.wait_ready()
    eventually(lambda: minting.condition("TenantReachable"), lambda c: c["status"] == "True")
    minting.annotate(stirred="yes")
    minting.wait("Ready", "True")
    assert (minting.dpu_status(), token(minting)) == (before, held)


def test_an_operator_that_is_away_for_three_days_costs_no_pod_its_tenant(
    minting: Trial, world: World, operator: OperatorProcess
) -> None:
    """What is shown is what a real kube-apiserver says to the very token that pods hold, 72 hours older than it is; and
    another day older, since an operator may vanish right before it would have renewed it. What is not shown is a server
    whose clock runs ahead, see `support.agedtoken`, nor what pods do; they read the token from its file."""
    minting.ready()
    held, key = token(minting), (world.tenant.folder / "sa.key").read_bytes()
    operator.kill()
    try:
        mounted = [_credential_mount(pod) for pod in minting.pods()]
        assert mounted == [names.TENANT_CREDENTIAL] * len(minting.nodes)
        assert user(minting) == {"tokenFile": "/var/run/secrets/tenant-kubeconfig/token"}
        assert claims(held)["exp"] - datetime.now(UTC).timestamp() > timedelta(days=6, hours=23).total_seconds()
        for away in (timedelta(hours=72), timedelta(hours=24 + 72)):
            assert _nodes(world, aged(held, key, away))["kind"] == "NodeList"
        with pytest.raises(Unauthorized):  # the server does look at the time
            _nodes(world, aged(held, key, timedelta(days=7, minutes=1)))
    finally:
        operator.restart()
        operator.wait_ready()


def _nodes(world: World, bearer: str) -> Any:
    """What the tenant shows to whoever holds that token."""
    with contextlib.closing(world.tenant.client(bearer)) as client:
        return client.get("/api/v1/nodes")


def _credential_mount(pod: Any) -> Any:
    """The Secret behind the folder in which a pod looks for its credential."""
    [container] = [each for each in pod["spec"]["containers"] if each["name"].startswith("ovnkube")]
    [mount] = [m for m in container["volumeMounts"] if m["mountPath"] == "/var/run/secrets/tenant-kubeconfig"]
    [volume] = [v for v in pod["spec"]["volumes"] if v["name"] == mount["name"]]
    return volume["secret"]["secretName"]


def test_the_kind_is_changed_live(minting: Trial) -> None:
    minting.ready(tenantCredential="Provided")
    given = kubeconfig_token(minting)
    assert (user(minting), token(minting), in_tenant(minting)) == (TOKEN_FILE, given, [])
    minting.patch_config({"spec": {"tenantCredential": "Minted"}})
    minting.wait("DpuCredentialValid", "True", "Minted")
    assert (user(minting), token(minting) == given) == (TOKEN_FILE, False)
    minting.wait("Ready", "True")
    minting.patch_config({"spec": {"tenantCredential": "Provided"}})
    minting.wait("DpuCredentialValid", "True", "Provided")
    assert (user(minting), token(minting)) == (TOKEN_FILE, given)
    minting.wait("Ready", "True")


def test_without_the_rights_minting_is_refused_where_it_is_asked_for(trial: Trial) -> None:
    trial.quick_start(tenantCredential="Minted")
    condition = trial.wait("DpuCredentialValid", "False", "MintingForbidden")
    assert f"create serviceaccounts/token {names.DPU_ACCOUNT} in {trial.tenant_namespace}" in condition["message"]
    trial.wait_event("MintingForbidden", "DpuCredentialValid is False")
    assert trial.get(SECRETS, names.TENANT_CREDENTIAL) == {}
    trial.patch_config({"spec": {"tenantCredential": "Auto"}})
    trial.wait("Ready", "True")
    assert trial.condition("DpuCredentialValid")["reason"] == "MintingForbidden"


def test_the_end_takes_everything_from_the_tenant(minting: Trial) -> None:
    minting.ready()
    assert len(in_tenant(minting)) == 3
    minting.delete_config()
    eventually(minting.config, lambda config: not config)
    assert in_tenant(minting) == []
    assert minting.get(SECRETS, names.TENANT_KUBECONFIG) == {}


def end_without_its_tenant(minting: Trial, way: FaultProxy) -> dict[str, Any]:
    """Let the tenant go away behind `way`, then ask for the end; what `Ready` says of it."""
    minting.store_kubeconfig(way.kubeconfig(minting.token()))
    minting.store_overrides()
    minting.create_config()
    minting.wait("Ready", "True")
    way.refuse()
    minting.wait("TenantReachable", "False", within=NOTICE_SECONDS)
    minting.delete_config()
    return eventually(lambda: minting.condition("Ready"), lambda c: "cannot be reached" in c.get("message", ""))


def test_the_end_waits_for_a_tenant_that_is_away_until_it_is_forced(minting: Trial, world: World) -> None:
    with FaultProxy.before(world.tenant) as way:
        condition = end_without_its_tenant(minting, way)
        assert f"Annotate {names.FORCE_DELETE_ANNOTATION}=yes" in condition["message"]
        assert minting.get(DAEMONSETS, names.OVNKUBE_NODE)
        minting.annotate(force_delete="yes")
        eventually(minting.config, lambda config: not config)
    assert len(in_tenant(minting)) == 3


def test_the_end_goes_on_when_the_tenant_is_back(minting: Trial, world: World) -> None:
    with FaultProxy.before(world.tenant) as way:
        end_without_its_tenant(minting, way)
        way.restore()
        eventually(minting.config, lambda config: not config)
        assert in_tenant(minting) == []
