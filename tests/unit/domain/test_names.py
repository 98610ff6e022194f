"""Names that are agreed with others."""

import re

import pytest

from dpunetop.domain.names import (
    blocker_name,
    field_manager,
    machine_config_name,
    maintenance_name,
    open_for,
    owner_hash,
)
from dpunetop.domain.pairing.envfile import is_node_name


def test_the_owner_is_the_same_for_a_config_that_is_created_again() -> None:
    assert owner_hash("uid-1", "ns", "name") == owner_hash("uid-1", "ns", "name")


def test_the_owner_tells_clusters_namespaces_and_names_apart() -> None:
    triples = [("uid-1", "a", "b"), ("uid-2", "a", "b"), ("uid-1", "ab", ""), ("uid-1", "a", "b-"), ("uid-1a", "", "b")]
    assert len({owner_hash(*triple) for triple in triples}) == len(triples)


def test_the_owner_is_a_label_value_that_never_changes_between_versions() -> None:
    value = owner_hash("uid-1", "a-namespace", "a-name")
    assert re.fullmatch(r"[0-9a-f]{32}", value)
    assert value == "97ba66ca7461e9e3c66fafd9b6e85491"


def test_the_machine_config_keeps_the_name_of_the_predecessor() -> None:
    assert machine_config_name("dpu") == "00-dpu-bluefield-switchdev"


def test_each_controller_has_a_field_manager_of_its_own() -> None:
    assert field_manager("hostconfig") == "dpunetop-hostconfig"


def test_blocker_and_maintenance_keep_the_names_of_the_predecessor() -> None:
    assert blocker_name("bf2-1") == "dpu-drain-blocker-bf2-1"
    assert maintenance_name("host-1") == "dpu-tenant-host-1"


_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NODE_NAMES = {  # of 253 characters, as Kubernetes takes them
    "one part": "n" * 253,
    "parts of 63": ".".join(["n" * 63] * 3 + ["n" * 61]),
    **{
        f"{mark} where it is cut at {at}": ("n" * at + mark + "n" * 253)[:253]
        for mark in ("-", ".", "--")
        for at in range(42, 48)
    },
    "only one kind of sign": "-".join(["0"] * 127),
    "many parts": ".".join(["0"] * 127),
}


@pytest.mark.parametrize("node", NODE_NAMES.values(), ids=NODE_NAMES.keys())
def test_what_is_named_after_a_node_is_valid_for_the_longest_names(node: str) -> None:
    assert len(node) == 253
    assert is_node_name(node)
    assert len(blocker_name(node)) <= 63
    assert re.fullmatch(rf"{_PART}(\.{_PART})*", blocker_name(node))  # of a Deployment; what is stricter than a label
    assert len(maintenance_name(node)) <= 253
    assert re.fullmatch(rf"{_PART}(\.{_PART})*", maintenance_name(node))
    assert re.fullmatch(r"dpu\.openshift\.io/open-for\.[0-9a-f]{16}", open_for(node))


def test_what_is_named_after_a_node_tells_long_names_apart() -> None:
    nodes = ["n" * 253, "n" * 252, *NODE_NAMES.values(), *(f"{'n' * 200}.{i}" for i in range(3))]
    for name in (blocker_name, maintenance_name, open_for):
        assert len({name(node) for node in nodes}) == len(set(nodes))


def test_a_mark_of_an_open_budget_is_a_valid_annotation_for_any_name() -> None:
    assert re.fullmatch(r"dpu\.openshift\.io/open-for\.[0-9a-f]{16}", open_for("n" * 253))
    assert open_for("bf2-1") != open_for("bf2-2")
