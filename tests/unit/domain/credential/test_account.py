from typing import Any

import pytest

from dpunetop.domain.credential.account import (
    ACCOUNTS,
    Right,
    TenantSide,
    access_review,
    account_for,
    is_allowed,
    named,
    rights_to_mint,
)
from dpunetop.domain.names import DPU_ROLE, OWNER_LABEL
from dpunetop.domain.ovnkube.release import Flavour, Release
from dpunetop.kube.keys import CLUSTERROLEBINDINGS


def live(owner: str = "0123", **metadata: str) -> dict[str, Any]:
    labels = {OWNER_LABEL: owner} if owner else {}
    named = {"name": "dpunetop-dpu", "uid": "u", "labels": labels, **metadata}
    return {"metadata": named, "roleRef": {"name": DPU_ROLE}}


ACCOUNT = account_for("ovn", None)
ALL = TenantSide(ACCOUNT, live(), live(), live())


def test_the_account_is_bound_to_the_roles_of_config_tenant_and_is_ours() -> None:
    account, role_binding, cluster_role_binding = (desired for _, desired, _ in ALL.objects("0123"))
    subject = {"kind": "ServiceAccount", "name": "dpunetop-dpu", "namespace": "ovn"}
    for binding, kind in ((role_binding, "Role"), (cluster_role_binding, "ClusterRole")):
        assert binding["subjects"] == [subject]
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": kind,
            "name": "dpunetop-dpu",
        }
    assert account["automountServiceAccountToken"] is False
    for desired in (account, role_binding, cluster_role_binding):
        assert desired["metadata"]["labels"] == {OWNER_LABEL: "0123"}
        assert "ownerReferences" not in desired["metadata"]
    assert "namespace" not in cluster_role_binding["metadata"]


FOR = {
    None: "dpunetop-dpu",
    Flavour.OPENSHIFT: "dpunetop-dpu",
    Flavour.UPSTREAM: "ovnkube-node-dpu",
}


def test_every_flavour_has_an_account() -> None:
    assert set(ACCOUNTS) == set(Flavour) == set(FOR) - {None}


@pytest.mark.parametrize(("flavour", "expected"), FOR.items(), ids=str)
def test_the_account_of_the_pods_follows_the_release_and_their_rights_do_not(
    flavour: Flavour | None, expected: str
) -> None:
    who = account_for("ovn", None if flavour is None else Release(flavour, (1, 3)))
    assert who.name == expected
    account, local, wide = (desired for _, desired, _ in TenantSide(who, None, None, None).objects("0123"))
    assert {each["metadata"]["name"] for each in (account, local, wide)} == {who.name}
    assert {local["roleRef"]["name"], wide["roleRef"]["name"]} == {DPU_ROLE}
    assert [each["subjects"][0]["name"] for each in (local, wide)] == [who.name] * 2
    assert who.user == f"system:serviceaccount:ovn:{who.name}"
    assert {right.name for right in rights_to_mint(who)} == {expected, DPU_ROLE}


def test_a_stranger_is_named() -> None:
    assert ALL.stranger("0123") is None
    assert TenantSide(ACCOUNT, None, None, None).stranger("0123") is None
    words = TenantSide(ACCOUNT, live(), live(owner=""), live()).stranger("0123")
    assert words is not None
    assert words.startswith(
        "the tenant's RoleBinding dpunetop-dpu exists and is not ours; it is left as it is. Remove it"
    )
    assert "spec.tenantCredential: Provided" in words


def test_it_is_complete_when_all_stand() -> None:
    assert ALL.is_complete()
    assert not TenantSide(ACCOUNT, live(), None, live()).is_complete()
    assert not TenantSide(ACCOUNT, live(deletionTimestamp="2026-01-01T00:00:00Z"), live(), live()).is_complete()


def test_a_binding_to_the_role_that_older_releases_bound_to_makes_way() -> None:
    old = {**live(), "roleRef": {"name": "openshift-ovn-kubernetes-node-limited"}}
    side = TenantSide(ACCOUNT, live(), live(), old)
    assert not side.is_complete()
    assert side.misbound() == ((CLUSTERROLEBINDINGS, old),)
    assert ALL.misbound() == ()


def test_a_right_is_asked_for_as_the_api_spells_it() -> None:
    review = access_review(Right("create", "", "serviceaccounts/token", "a", "n"))
    assert review["spec"]["resourceAttributes"] == {
        "verb": "create",
        "resource": "serviceaccounts",
        "subresource": "token",
        "name": "a",
        "namespace": "n",
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": {"allowed": True}}, True),
        ({"status": {"allowed": False}}, False),
        ({"status": {"allowed": "yes"}}, False),
        ({"status": None}, False),
        ({}, False),
    ],
)
def test_only_a_clear_yes_is_a_yes(answer: dict[str, Any], expected: bool) -> None:
    assert is_allowed(answer) is expected


def test_the_first_missing_rights_are_named() -> None:
    words = named(rights_to_mint(ACCOUNT))
    assert words.startswith("create serviceaccounts/token dpunetop-dpu in ovn, bind roles")
    assert words.endswith(" and 15 more")
