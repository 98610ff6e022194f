"""The parts of `tenant-kubeconfig` that need no server: its file, its token, and what it says of both."""

from __future__ import annotations

import base64
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from dpunetop.app import assets
from dpunetop.app.commands import tenantkubeconfig
from dpunetop.app.commands.facts import TENANT_ACCOUNT
from dpunetop.app.commands.flags import UsageError
from dpunetop.app.commands.tenantkubeconfig import (
    TOKEN_SECRET,
    Wanted,
    kubeconfig,
    lacking_rights,
    store_command,
    tenant_kubeconfig,
    token_of,
    warnings,
)
from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.doctor.model import Place
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import render_kubeconfig
from dpunetop.kube.errors import Unauthorized
from dpunetop.kube.keys import SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of, new_object
from dpunetop.runtime.client.connection import Anonymous, Connection
from support.clock import FakeClock
from support.kubeconfigs import good_kubeconfig
from support.lookedat import LookedAt

OVN = "ovn-kubernetes"
LASTING, ENDING = Wanted(OVN, False, None), Wanted(OVN, False, 3600)
CA = parse_kubeconfig(good_kubeconfig()).ca_pem


class HurriedClock(FakeClock):
    """Time passes as soon as somebody waits for it."""

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        self.step(timeout or 0.0)


class Tenant(LookedAt):
    """A tenant whose controllers put a token into Secrets that ask for one, unless it is told otherwise."""

    fills = True

    def apply(self, resource: Resource, body: Obj, field_manager: str) -> Obj:
        made = dict(body)
        if resource == SECRETS and self.fills:
            made["data"] = {"token": base64.b64encode(b"token-that-lasts").decode()}
        self.objects[Place(resource, namespace_of(body), name_of(body))] = made
        return made

    def create_sub(self, resource: Resource, namespace: str, name: str, sub: str, obj: Obj) -> Obj:
        assert (resource, namespace, name, sub) == (SERVICEACCOUNTS, OVN, TENANT_ACCOUNT, "token")
        return {"status": {"token": f"token-for-{obj['spec']['expirationSeconds']}-s"}}


def prepared() -> Tenant:
    """A tenant with the account."""
    tenant = Tenant()
    tenant.put(SERVICEACCOUNTS, [new_object(SERVICEACCOUNTS, OVN, TENANT_ACCOUNT)])
    return tenant


def connection(**members: Any) -> Connection:
    """An administrator's way to a tenant."""
    return Connection(**{"url": "https://api.tenant.example:6443", "ca_pem": CA, "credential": Anonymous(), **members})


def test_without_a_duration_the_token_is_of_a_secret_that_names_its_account() -> None:
    tenant = prepared()
    assert token_of(tenant, LASTING, FakeClock()).reveal() == "token-that-lasts"
    secret = tenant.objects[Place(SECRETS, OVN, TOKEN_SECRET)]
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": TENANT_ACCOUNT}


def test_with_a_duration_nothing_is_left_in_the_tenant() -> None:
    tenant = prepared()
    assert token_of(tenant, ENDING, FakeClock()).reveal() == "token-for-3600-s"
    assert list(tenant.objects) == [Place(SERVICEACCOUNTS, OVN, TENANT_ACCOUNT)]


def test_nothing_but_the_token_is_written_without_apply() -> None:
    with pytest.raises(UsageError, match=r"no ServiceAccount ovn-kubernetes/dpunetop-operator; add --apply"):
        token_of(Tenant(), LASTING, FakeClock())


def test_with_apply_what_deploy_has_is_applied_in_the_namespace_of_the_tenant() -> None:
    tenant = Tenant()
    token_of(tenant, Wanted(OVN, True, None), FakeClock())
    expected = {(obj["kind"], name_of(obj), OVN if namespace_of(obj) else "") for obj in assets.tenant_manifests()}
    applied = {(place.resource.kind, place.name, place.namespace) for place in tenant.objects}
    assert applied - expected == {("Secret", TOKEN_SECRET, OVN)}
    assert expected <= applied


def test_a_tenant_that_fills_no_secret_is_told_with_the_other_way() -> None:
    tenant = prepared()
    tenant.fills = False
    with pytest.raises(UsageError, match=r"no controller of the tenant puts a token into Secret .*--duration"):
        token_of(tenant, LASTING, HurriedClock())


def test_the_kubeconfig_is_what_the_operator_takes_and_holds_nothing_of_the_administrator() -> None:
    made = kubeconfig(connection(tls_server_name="api.int"), None, Sensitive("t"))
    assert parse_kubeconfig(render_kubeconfig(made)) == made
    assert (made.server, made.tls_server_name) == ("https://api.tenant.example:6443", "api.int")
    assert made.client_cert_pem is None


def test_another_server_may_be_given_as_infra_reaches_it() -> None:
    assert kubeconfig(connection(), "https://10.1.2.3", Sensitive("t")).server == "https://10.1.2.3:443"


@pytest.mark.parametrize(
    ("members", "server", "words"),
    [
        ({"ca_pem": None}, None, "certificate-authority-data"),
        ({}, "http://api.tenant.example", "the operator would not take the kubeconfig"),
    ],
)
def test_what_the_operator_would_refuse_is_not_made(members: dict[str, Any], server: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kubeconfig(connection(**members), server, Sensitive("t"))


def test_an_address_that_the_operator_does_not_connect_to_is_told() -> None:
    [line] = warnings(kubeconfig(connection(url="https://127.0.0.1:6443"), None, Sensitive("t")))
    assert "does not connect to 127.0.0.1 (loopback) unless --tenant-allowed-cidrs" in line
    assert warnings(kubeconfig(connection(), None, Sensitive("t"))) == []


def test_the_new_credential_is_tried_for_every_right() -> None:
    tenant = LookedAt()
    assert lacking_rights(tenant, OVN, FakeClock()) == ""
    tenant.lacking.add(("patch", "nodes"))
    assert lacking_rights(tenant, OVN, FakeClock()) == "may not patch nodes"


def test_a_token_that_the_tenant_does_not_know_yet_is_tried_again() -> None:
    class Late(LookedAt):
        calls = 0

        def release(self) -> str:
            self.calls += 1
            if self.calls < 3:
                raise Unauthorized(401, "Unauthorized", "")
            return "v1.33.0"

    assert lacking_rights(Late(), OVN, HurriedClock()) == ""


def test_a_file_that_exists_is_not_overwritten_and_no_tenant_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, file = tmp_path / "admin", tmp_path / "tenant.kubeconfig"
    admin.write_bytes(good_kubeconfig())
    file.write_text("mine")
    code = tenant_kubeconfig([f"--tenant-kubeconfig={admin}", f"--file={file}"])
    assert (code, file.read_text()) == (2, "mine")
    assert "exists, and is not overwritten; give another --file" in capsys.readouterr().err


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "link"
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists"):
        tenantkubeconfig.new_file(file)


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tenant.kubeconfig"
    with open(tenantkubeconfig.new_file(file), "wb"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_command_for_infra_can_be_pasted_whatever_the_path() -> None:
    command = store_command(Path("my files/t.kubeconfig"), "tenant-cluster-1", "tenant-cluster-1-kubeconf")
    assert command == (
        "kubectl create secret generic tenant-cluster-1-kubeconf --from-file='config=my files/t.kubeconfig'"
        " --namespace tenant-cluster-1"
    )


@pytest.mark.parametrize("text", ["", "1y", "0h", "8760", "-1h"])
def test_a_duration_that_is_none_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tenant_kubeconfig([f"--tenant-kubeconfig={tmp_path}", f"--duration={text}"]) == 2
    assert "is no duration such as 8760h" in capsys.readouterr().err
