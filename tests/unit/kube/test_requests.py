import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dpunetop.kube import requests
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, NODES, PODS, SECRETS
from dpunetop.kube.requests import Selection

OBJ = {"metadata": {"name": "x"}}

TARGETS = {
    "core, namespaced": (requests.get(SECRETS, "n", "x"), "GET /api/v1/namespaces/n/secrets/x"),
    "core, of the cluster": (requests.get(NODES, "", "x"), "GET /api/v1/nodes/x"),
    "of a group": (requests.get(DAEMONSETS, "n", "x"), "GET /apis/apps/v1/namespaces/n/daemonsets/x"),
    "apply": (requests.apply(SECRETS, "n", "x", OBJ, "us"), "PATCH /api/v1/namespaces/n/secrets/x"),
    "rehearse": (requests.rehearse(SECRETS, "n", "x", OBJ, "us"), "PATCH /api/v1/namespaces/n/secrets/x"),
    "apply status": (requests.apply_status(NODES, "", "x", OBJ, "us"), "PATCH /api/v1/nodes/x/status"),
    "merge patch": (requests.merge_patch(NODES, "", "x", OBJ, "us"), "PATCH /api/v1/nodes/x"),
    "dry run": (requests.dry_run(PODS, "n", "x", "status", OBJ, "us"), "PATCH /api/v1/namespaces/n/pods/x/status"),
    "create": (requests.create(PODS, "n", OBJ), "POST /api/v1/namespaces/n/pods"),
    "create below": (requests.create_sub(PODS, "n", "x", "eviction", OBJ), "POST /api/v1/namespaces/n/pods/x/eviction"),
    "update": (requests.update(PODS, "n", "x", OBJ), "PUT /api/v1/namespaces/n/pods/x"),
    "delete": (requests.delete(PODS, "n", "x", "u"), "DELETE /api/v1/namespaces/n/pods/x"),
    "list in a namespace": (requests.list_page(Selection(PODS, "n"), 5, ""), "GET /api/v1/namespaces/n/pods"),
    "list everywhere": (requests.list_page(Selection(PODS), 5, ""), "GET /api/v1/pods"),
    "list of the cluster": (requests.list_page(Selection(NODES, "n"), 5, ""), "GET /api/v1/nodes"),
    "a name with a way out": (
        requests.get(SECRETS, "n", "../../nodes/x?y#z"),
        "GET /api/v1/namespaces/n/secrets/..%2F..%2Fnodes%2Fx%3Fy%23z",
    ),
    "a namespace with a way out": (
        requests.get(SECRETS, "n/secrets/y?", "x"),
        "GET /api/v1/namespaces/n%2Fsecrets%2Fy%3F/secrets/x",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "expected"), TARGETS.values(), ids=TARGETS.keys())
def test_a_request_goes_to_its_path(request_: requests.Request, expected: str) -> None:
    assert f"{request_.method} {request_.target.partition('?')[0]}" == expected


ONE = Selection(SECRETS, "n", field_selector="metadata.name=x")
LABELLED = Selection(PODS, "n", label_selector="app=a,b in (c,d)")

QUERIES = {
    "first page": (requests.list_page(ONE, 5, ""), {"limit": "5", "fieldSelector": "metadata.name=x"}),
    "next page": (
        requests.list_page(LABELLED, 5, "a b&c"),
        {"limit": "5", "continue": "a b&c", "labelSelector": "app=a,b in (c,d)"},
    ),
    "watch": (
        requests.watch(ONE, "7", 300),
        {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": "7",
            "timeoutSeconds": "300",
            "fieldSelector": "metadata.name=x",
        },
    ),
    "watch list": (
        requests.watch_list(ONE, 300),
        {
            "watch": "1",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
            "fieldSelector": "metadata.name=x",
        },
    ),
    "apply": (requests.apply(SECRETS, "n", "x", OBJ, "us"), {"fieldManager": "us", "force": "true"}),
    "rehearse": (
        requests.rehearse(SECRETS, "n", "x", OBJ, "us"),
        {"fieldManager": "us", "force": "true", "dryRun": "All"},
    ),
    "merge patch": (requests.merge_patch(NODES, "", "x", OBJ, "us"), {"fieldManager": "us"}),
    "dry run": (requests.dry_run(NODES, "", "x", "status", OBJ, "us"), {"fieldManager": "us", "dryRun": "All"}),
    "get": (requests.get(NODES, "", "x"), {}),
}


@pytest.mark.parametrize(("request_", "expected"), QUERIES.values(), ids=QUERIES.keys())
def test_a_request_asks_for_no_more_than_it_says(request_: requests.Request, expected: dict[str, Any]) -> None:
    query = parse_qs(urlsplit(request_.target).query)
    assert {key: value for key, [value] in query.items()} == expected


TYPES = {
    "apply": (requests.apply(SECRETS, "n", "x", OBJ, "us"), "application/apply-patch+yaml"),
    "rehearse": (requests.rehearse(SECRETS, "n", "x", OBJ, "us"), "application/apply-patch+yaml"),
    "merge patch": (requests.merge_patch(NODES, "", "x", OBJ, "us"), "application/merge-patch+json"),
    "dry run": (requests.dry_run(NODES, "", "x", "status", OBJ, "us"), "application/merge-patch+json"),
    "create": (requests.create(PODS, "n", OBJ), "application/json"),
}


@pytest.mark.parametrize(("request_", "expected"), TYPES.values(), ids=TYPES.keys())
def test_a_body_is_json_of_its_type(request_: requests.Request, expected: str) -> None:
    assert request_.content_type == expected
    assert json.loads(request_.body or b"") == OBJ


@pytest.mark.parametrize(("version", "more"), [("", {}), ("7", {"resourceVersion": "7"})])
def test_a_delete_names_what_it_is_for(version: str, more: dict[str, Any]) -> None:
    body = json.loads(requests.delete(CONFIGMAPS, "n", "x", "u-1", version).body or b"")
    assert body["preconditions"] == {"uid": "u-1", **more}


def test_a_selection_reads_as_one_word() -> None:
    assert str(ONE) == "secrets/n/metadata.name=x"
    assert str(Selection(DAEMONSETS)) == "daemonsets.apps"


COVERED = {
    "all of a kind": (Selection(NODES), "", "x", True),
    "all namespaces": (Selection(PODS), "n", "x", True),
    "its namespace": (Selection(PODS, "n"), "n", "x", True),
    "another namespace": (Selection(PODS, "n"), "m", "x", False),
    "its name": (ONE, "n", "x", True),
    "another name": (ONE, "n", "y", False),
    "a name in another namespace": (ONE, "m", "x", False),
    "fields of which the place says nothing": (Selection(PODS, "n", "spec.nodeName=d"), "n", "x", True),
    "a name among other fields": (Selection(PODS, "n", "metadata.name=x,spec.nodeName=d"), "n", "y", True),
}


ALL_OF = {
    "all of a kind": (Selection(NODES), "", "x", True),
    "its namespace": (Selection(PODS, "n"), "n", "x", True),
    "another namespace": (Selection(PODS, "n"), "m", "x", False),
    "its name": (ONE, "n", "x", True),
    "another name": (ONE, "n", "y", False),
    "some by their fields": (Selection(PODS, "n", "spec.nodeName=d"), "n", "x", False),
    "some by their labels": (Selection(PODS, "n", "", "app=x"), "n", "x", False),
}


@pytest.mark.parametrize(("selection", "namespace", "name", "is_all"), ALL_OF.values(), ids=ALL_OF.keys())
def test_a_selection_tells_where_nothing_is_left_out(
    selection: Selection, namespace: str, name: str, is_all: bool
) -> None:
    assert selection.is_all_of(namespace, name) is is_all


@pytest.mark.parametrize(("selection", "namespace", "name", "covered"), COVERED.values(), ids=COVERED.keys())
def test_a_selection_tells_by_the_place_what_cannot_be_in_it(
    selection: Selection, namespace: str, name: str, covered: bool
) -> None:
    assert selection.covers(namespace, name) is covered
