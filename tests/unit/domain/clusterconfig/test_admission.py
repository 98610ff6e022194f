from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.admission import admit
from support.objects import config


class CountedDict(dict[str, Any]):
    """A resource that counts how often anybody looks into it."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        CountedDict.looks += 1
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None, /) -> Any:
        CountedDict.looks += 1
        return super().get(key, default)


def counted(objects: list[dict[str, Any]]) -> int:
    """How many looks it takes to judge them."""
    CountedDict.looks = 0
    admit([CountedDict(obj) for obj in objects])
    return CountedDict.looks


def created(obj: dict[str, Any], second: int) -> dict[str, Any]:
    obj["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{second:02d}Z"
    return obj


def reasons(*objects: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{judged.namespace}/{judged.name}": judged.refused and judged.refused.reason for judged in admit(list(objects))
    }


def test_a_config_alone_is_served() -> None:
    assert reasons(config()) == {"dpu-one/sample": None}


@pytest.mark.parametrize(
    ("given", "reason"),
    {
        "infra's own network": (config(namespace="openshift-ovn-kubernetes"), "ReservedNamespace"),
        "a namespace of the system": (config(namespace="kube-public"), "ReservedNamespace"),
        "the pool master": (config(poolName="master"), "PoolNameReserved"),
        "the pool worker": (config(poolName="worker"), "PoolNameReserved"),
        "a stored config without pool": (config(poolName=""), "PoolNameInvalid"),
        "a pool that is no label": (config(poolName="Dpu_1"), "PoolNameInvalid"),
    }.values(),
)
def test_what_is_refused_for_itself(given: dict[str, Any], reason: str) -> None:
    assert list(reasons(given).values()) == [reason]


def test_the_older_of_two_in_one_namespace_is_served() -> None:
    older, younger = created(config("b"), 1), created(config("a", poolName="other"), 2)
    assert reasons(younger, older) == {"dpu-one/b": None, "dpu-one/a": "NamespaceTaken"}


def test_the_older_of_two_that_name_one_pool_is_served() -> None:
    older, younger = created(config("a", "ns-b"), 1), created(config("a", "ns-a"), 2)
    assert reasons(younger, older) == {"ns-b/a": None, "ns-a/a": "PoolTaken"}


def test_of_two_made_in_one_second_exactly_one_is_served() -> None:
    judged = reasons(config("a", "ns-a"), config("a", "ns-b"))
    assert sorted(judged.values(), key=str) == [None, "PoolTaken"]


def test_one_that_is_refused_for_itself_claims_nothing() -> None:
    older, younger = created(config("a", poolName="master"), 1), created(config("b"), 2)
    assert reasons(older, younger) == {"dpu-one/a": "PoolNameReserved", "dpu-one/b": None}


def test_one_that_is_being_deleted_keeps_its_claim_until_it_is_gone() -> None:
    ending, waiting = created(config("a"), 1), created(config("b", poolName="other"), 2)
    ending["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    assert reasons(ending, waiting)["dpu-one/b"] == "NamespaceTaken"


def strangers(number: int, **spec: str) -> list[dict[str, Any]]:
    """The youngest first, so that whoever goes by order is misled."""
    return [created(config(f"c{n}", f"ns-{n}", **spec), 59 - n % 60) for n in range(number)]


@pytest.mark.parametrize(
    "many",
    [
        lambda number: strangers(number),
        lambda number: [created(config(f"c{n}", poolName=f"p{n}"), 59 - n % 60) for n in range(number)],
        lambda number: strangers(number, poolName="master"),
    ],
    ids=["that name one pool", "in one namespace", "that are refused for themselves"],
)
def test_the_cost_of_judging_configs_grows_linearly_with_their_number(
    many: Callable[[int], list[dict[str, Any]]],
) -> None:
    few, lots = counted(many(100)), counted(many(2500))
    assert few > 0
    assert lots <= few * 25 * 1.05


def test_of_very_many_the_oldest_alone_is_served_and_named() -> None:
    oldest = created(config("z", "ns-z"), 0)
    oldest["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    judged = admit([*strangers(500), oldest])
    assert [each.name for each in judged if each.refused is None] == ["z"]
    assert {each.refused.message.split(",")[0] for each in judged if each.refused} == {
        f"pool {oldest['spec']['poolName']} belongs to ns-z/z"
    }


def fresh(obj: dict[str, Any]) -> dict[str, Any]:
    """Never served so far."""
    obj["metadata"]["finalizers"] = []
    obj["status"] = {}
    return obj


def where(*namespaces: str) -> Callable[[str], bool]:
    return lambda namespace: namespace in namespaces


def test_where_the_operator_has_no_rights_nothing_is_served_or_claimed() -> None:
    older, younger = fresh(created(config("a", "ns-a"), 1)), fresh(created(config("b", "ns-b"), 2))
    judged = admit([older, younger], where("ns-b"))
    assert [each.refused and each.refused.reason for each in judged] == ["NamespaceNotServed", None]
    assert judged[0].refused is not None
    assert "config/tenant-namespace" in judged[0].refused.message


def test_what_was_served_before_keeps_its_claim_whatever_becomes_of_the_rights() -> None:
    served, other = config("b", "ns-b"), fresh(created(config("a", "ns-a"), 59))
    judged = admit([served, other], where("ns-a"))
    assert [each.refused and each.refused.reason for each in judged] == [None, "PoolTaken"]


@pytest.mark.parametrize(("where_served", "reason"), [("ns-a", "PoolTaken"), ("dpu-one", "NamespaceTaken")])
def test_an_older_one_that_comes_into_scope_later_does_not_displace_one_that_is_served(
    where_served: str, reason: str
) -> None:
    older = fresh(created(config("old", where_served, poolName="dpu"), 1))
    judged = admit([older, created(config("b"), 2)])
    assert [each.refused and each.refused.reason for each in judged] == [reason, None]
    assert judged[0].refused is not None
    assert "is served already" in judged[0].refused.message
