"""What is tried of the admission of the DPU pods, and what is said of it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from dpunetop.domain.credential.nodeidentity import (
    UNASKED,
    AdmissionDenied,
    Admitted,
    Attempt,
    Identity,
    Untried,
    denied,
    next_try,
    on_a_pod,
    on_node,
    pods_of,
    shown_user,
    told,
    unauthorized,
    unclear,
    without_pod,
)
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import Forbidden, Unreachable
from dpunetop.sandbox.standins import nodeidentity as real

USER = "system:serviceaccount:ovn:dpunetop-dpu"
WORDS = 'admission webhook "w" denied the request: user "u" is not allowed'


def pod(name: str, host: str = "h", labels: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "n", "name": name, "labels": labels or {}, **metadata},
        "spec": {"nodeName": host},
    }


def test_what_is_tried_are_changes_of_annotations_that_the_webhook_guards() -> None:
    node, on_pod = on_node("h"), on_a_pod("h", [pod("a")])
    assert on_pod is not None
    assert (node.annotation in real.NODE_KEYS, on_pod.annotation in real.POD_KEYS) == (True, True)
    assert node.annotation not in (real.CHASSIS, real.ZONE)  # these have rules of their own
    for attempt in (node, on_pod):
        assert list(attempt.patch) == ["metadata"]  # the identity of a node may change nothing else
        assert list(attempt.patch["metadata"]) == ["annotations"]
        assert list(attempt.patch["metadata"]["annotations"]) == [attempt.annotation]


def test_the_rights_that_are_named_are_those_of_the_write() -> None:
    on_pod = on_a_pod("h", [pod("a")])
    assert str(on_node("h").right) == "patch nodes/status h"
    assert on_pod is not None
    assert str(on_pod.right) == "patch pods/status a in n"


CANDIDATES: dict[str, tuple[list[dict[str, Any]], str | None]] = {
    "the first by name": ([pod("b"), pod("a")], "a"),
    "one of another host": ([pod("a", "other")], None),
    "one that is about to go": ([pod("a", deletionTimestamp="now")], None),
    "one that the webhook does not look at": ([pod("a", labels={"name": "ovnkube-identity"})], None),
    "one of another shape": ([{"metadata": {"namespace": "n", "name": "a"}, "spec": ["h"]}], None),
    "none": ([], None),
}


@pytest.mark.parametrize(("pods", "name"), CANDIDATES.values(), ids=CANDIDATES.keys())
def test_it_is_tried_with_a_pod_of_the_host(pods: list[dict[str, Any]], name: str | None) -> None:
    found = on_a_pod("h", pods)
    assert (found.name if found is not None else None) == name
    assert pods_of("h").field_selector == "spec.nodeName=h"


GOOD = Condition("DpuCredentialValid", "True", "Minted", "good")
SAID: dict[str, tuple[Identity, tuple[str, str]]] = {
    "nothing is asked": (UNASKED, ("True", "Minted")),
    "it is admitted": (Admitted(), ("True", "Minted")),
    "it is denied": (AdmissionDenied("no"), ("False", "NotAdmitted")),
    "it is not known": (Untried("no pod"), ("Unknown", "AdmissionNotTried")),
}


def test_every_answer_is_in_the_table_above() -> None:
    assert {type(identity) for identity, _ in SAID.values()} == set(get_args(Identity))


@pytest.mark.parametrize(("identity", "said"), SAID.values(), ids=SAID.keys())
def test_a_credential_is_called_valid_only_if_that_was_looked_at(identity: Identity, said: tuple[str, str]) -> None:
    found = told(GOOD, identity)
    assert (found.status, found.reason) == said
    worse = Condition("DpuCredentialValid", "False", "Expired", "ended")
    assert told(worse, identity) == worse


def test_a_failed_trial_is_repeated_sooner() -> None:
    assert next_try(UNASKED) is None
    pauses = [next_try(each) or 0.0 for each in (Untried(""), AdmissionDenied(""), Admitted())]
    assert pauses == sorted(pauses)


def test_a_denial_says_what_by_whom_in_which_words_and_what_to_do() -> None:
    said = denied(on_node("h"), USER, Forbidden(403, "Forbidden", WORDS)).message
    assert "k8s.ovn.org/node-encap-ips onto Node h" in said
    assert "\"admission webhook 'w' denied the request: user 'u' is not allowed\"" in said
    assert f"--extra-allowed-user={USER}" in said
    assert "<user of the kubeconfig>" in denied(on_node("h"), "", Forbidden(403, "Forbidden", "")).message
    assert f"{USER} may not patch nodes/status h" in unauthorized(on_node("h"), USER).message


def test_what_is_not_known_says_why() -> None:
    attempt = Attempt(on_node("h").resource, "", "h", "a")
    assert "the tenant does not answer" in unclear(attempt, Unreachable(0, "Timeout", "slow")).message
    assert "no pod runs there" in without_pod("h").message


def test_a_users_name_is_fit_for_a_message() -> None:
    assert shown_user(USER) == USER
    assert shown_user("a\nb c") == "a?b?c"
    assert len(shown_user("a" * 5000)) < 260
    assert (shown_user(None), shown_user(7), shown_user("")) == ("", "", "")
