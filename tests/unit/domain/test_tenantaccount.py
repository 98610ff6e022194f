import pytest

from dpunetop.domain.names import OWNER_LABEL
from dpunetop.domain.tenantaccount import (
    Right,
    TenantSide,
    access_review,
    is_allowed,
    named,
    rights_to_mint,
)


def live(owner="0123", **metadata):
    labels = {OWNER_LABEL: owner} if owner else {}
    return {"metadata": {"name": "dpunetop-dpu", "uid": "u", "labels": labels, **metadata}}


ALL = TenantSide("ovn", live(), live(), live())


def test_the_account_is_bound_to_the_roles_of_a_node_and_is_ours():
    account, role_binding, cluster_role_binding = (desired for _, desired, _ in ALL.objects("0123"))
    subject = {"kind": "ServiceAccount", "name": "dpunetop-dpu", "namespace": "ovn"}
    for binding, kind in ((role_binding, "Role"), (cluster_role_binding, "ClusterRole")):
        assert binding["subjects"] == [subject]
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": kind,
            "name": "openshift-ovn-kubernetes-node-limited",
        }
    assert account["automountServiceAccountToken"] is False
    for desired in (account, role_binding, cluster_role_binding):
        assert desired["metadata"]["labels"] == {OWNER_LABEL: "0123"}
        assert "ownerReferences" not in desired["metadata"]
    assert "namespace" not in cluster_role_binding["metadata"]


def test_a_stranger_is_named():
    assert ALL.stranger("0123") is None
    assert TenantSide("ovn", None, None, None).stranger("0123") is None
    words = TenantSide("ovn", live(), live(owner=""), live()).stranger("0123")
    assert words == "the tenant's RoleBinding dpunetop-dpu exists and is not ours; it is left as it is"


def test_it_is_complete_when_all_stand():
    assert ALL.is_complete()
    assert not TenantSide("ovn", live(), None, live()).is_complete()
    assert not TenantSide("ovn", live(deletionTimestamp="2026-01-01T00:00:00Z"), live(), live()).is_complete()


def test_a_right_is_asked_for_as_the_api_spells_it():
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
def test_only_a_clear_yes_is_a_yes(answer, expected):
    assert is_allowed(answer) is expected


def test_the_first_missing_rights_are_named():
    words = named(rights_to_mint("ovn"))
    assert words.startswith("create serviceaccounts/token dpunetop-dpu in ovn, bind roles")
    assert words.endswith(" and 15 more")
