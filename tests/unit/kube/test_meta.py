from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.kube import meta
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES, Key

BARE = {"metadata": {"name": "x"}}
FULL = {
    "metadata": {
        "name": "x",
        "namespace": "n",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "labels": {"a": "1"},
        "annotations": {"b": "2"},
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
}

READERS = {  # reader -> of a full object, of a bare one
    meta.name_of: ("x", "x"),
    meta.namespace_of: ("n", ""),
    meta.uid_of: ("u", ""),
    meta.version_of: ("7", ""),
    meta.generation_of: (3, 0),
    meta.labels_of: ({"a": "1"}, {}),
    meta.annotations_of: ({"b": "2"}, {}),
    meta.is_terminating: (True, False),
}


@pytest.mark.parametrize(("reader", "expected"), READERS.items(), ids=[reader.__name__ for reader in READERS])
def test_metadata_is_read_and_its_absence_too(
    reader: Callable[..., object], expected: tuple[dict[str, str], dict[str, Any]]
) -> None:
    assert (reader(FULL), reader(BARE)) == expected


@pytest.mark.parametrize("reader", [meta.labels_of, meta.annotations_of])
def test_null_counts_as_absent(reader: Callable[..., object]) -> None:
    assert reader({"metadata": {"labels": None, "annotations": None}}) == {}


def test_a_new_object_knows_its_type_and_place() -> None:
    assert meta.new_object(CONFIGMAPS, "n", "x", data={"a": "1"}) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n"},
        "data": {"a": "1"},
    }


def test_a_new_object_of_the_cluster_has_no_namespace() -> None:
    assert meta.new_object(NODES, "n", "x")["metadata"] == {"name": "x"}


def test_an_owner_reference_does_not_block_the_owners_deletion() -> None:
    assert meta.owner_reference(CONFIGMAPS, FULL) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "x",
        "uid": "u",
        "controller": True,
    }


KEYS = {
    Key(INFRA, "n", "x"): "infra:n/x",
    Key(INFRA, "", "x"): "infra:x",
    Key("tenant/n/t", "n", "x"): "tenant/n/t:n/x",
}


@pytest.mark.parametrize(("key", "text"), KEYS.items(), ids=KEYS.values())
def test_a_key_reads_as_cluster_and_place(key: Key, text: str) -> None:
    assert str(key) == text
