"""Names that are agreed with others."""

import re

from dpunetop.domain.names import field_manager, machine_config_name, owner_hash


def test_the_owner_is_the_same_for_a_config_made_anew() -> None:
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
