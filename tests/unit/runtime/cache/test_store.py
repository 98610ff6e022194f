from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from dpunetop.kube.meta import Obj, labels_of, name_of
from dpunetop.runtime.cache.change import Change, Synced
from dpunetop.runtime.cache.interning import Interner
from dpunetop.runtime.cache.store import Store
from support.scriptedsource import obj


def by_color(o: Obj) -> Iterable[str]:
    return [o["color"]] if "color" in o else []


def mapped(*objects: dict[str, Any]) -> dict[tuple[str, str], Obj]:
    return {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in objects}


def test_readers_see_what_was_put_and_what_was_dropped() -> None:
    store = Store()
    store.writer.put(obj("a", 1))
    store.writer.put(obj("b", 2, namespace="other"))
    assert store.lister.get("ns", "a") == obj("a", 1)
    assert [name_of(o) for o in store.lister.list("other")] == ["b"]
    assert len(store.lister.list()) == 2
    store.writer.drop(obj("a", 3))
    assert store.lister.get("ns", "a") is None


def test_a_store_is_filled_by_its_first_complete_list_and_not_by_events() -> None:
    store = Store()
    store.writer.put(obj("a", 1))
    assert not store.is_filled()
    store.writer.replace({})
    assert store.is_filled()
    assert store.lister.list() == []


def test_a_feed_begins_with_what_is_there_and_goes_on_in_order() -> None:
    store = Store()
    store.writer.replace(mapped(obj("a", 1)))
    feed = store.subscribe()
    store.writer.put(obj("a", 2, color="red"))
    store.writer.drop(obj("a", 3, color="red"))
    assert list(feed) == [
        Change(None, obj("a", 1)),
        Synced(),
        Change(obj("a", 1), obj("a", 2, color="red")),
        Change(obj("a", 3, color="red"), None),
    ]
    store.unsubscribe(feed)
    store.writer.put(obj("b", 4))
    assert len(feed) == 4


def test_a_change_of_nothing_but_the_version_keeps_all_the_rest_as_it_is() -> None:
    store = Store()
    store.writer.put(obj("a", 1, spec={"x": [1]}))
    before = store.lister.get("ns", "a")
    store.writer.put(obj("a", 2, spec={"x": [1]}))
    after = store.lister.get("ns", "a")
    assert before is not None
    assert after == obj("a", 2, spec={"x": [1]})
    assert after["spec"] is before["spec"]


def test_what_is_put_has_in_common_with_others_what_it_can() -> None:
    store = Store(share=Interner().share)
    for name in ("a", "b"):
        store.writer.put(obj(name, 1, spec={"x": [1]}))
    one, other = store.lister.list()
    assert one["spec"] is other["spec"]


def test_a_change_of_nothing_but_the_version_is_stored_and_not_announced() -> None:
    store = Store()
    store.writer.put(obj("a", 1, color="red"))
    feed = store.subscribe()
    feed.clear()
    store.writer.put(obj("a", 2, color="red"))
    assert store.lister.get("ns", "a") == obj("a", 2, color="red")
    assert not feed


def test_an_object_created_anew_is_announced_even_if_it_looks_the_same() -> None:
    store = Store()
    store.writer.put(obj("a", 1))
    feed = store.subscribe()
    feed.clear()
    store.writer.put(obj("a", 2, uid="another"))
    assert list(feed) == [Change(obj("a", 1), obj("a", 2, uid="another"))]


def test_a_list_announces_differences_only_and_the_vanished_with_their_last_known_state() -> None:
    store = Store()
    store.writer.replace(mapped(obj("kept", 1), obj("gone", 2), obj("changed", 3)))
    feed = store.subscribe()
    feed.clear()
    store.writer.replace(mapped(obj("kept", 1), obj("changed", 5, color="red"), obj("new", 4)))
    assert list(feed) == [
        Change(obj("gone", 2), None, final_state_unknown=True),
        Change(obj("changed", 3), obj("changed", 5, color="red")),
        Change(None, obj("new", 4)),
    ]


def test_a_list_replaces_newer_versions_too() -> None:
    store = Store()
    store.writer.put(obj("a", 9, color="red"))
    store.writer.replace(mapped(obj("a", 3)))
    assert store.lister.get("ns", "a") == obj("a", 3)


def test_an_index_follows_every_kind_of_change() -> None:
    store = Store({"color": by_color})

    def found(color: str) -> list[str]:
        return sorted(name_of(o) for o in store.lister.by_index("color", color))

    store.writer.replace(mapped(obj("a", 1, color="red"), obj("b", 2, color="red"), obj("c", 3)))
    assert found("red") == ["a", "b"]
    store.writer.put(obj("a", 4, color="blue"))
    assert (found("red"), found("blue")) == (["b"], ["a"])
    store.writer.put(obj("b", 5))
    store.writer.drop(obj("a", 6, color="blue"))
    assert (found("red"), found("blue")) == ([], [])


def test_an_index_that_does_not_exist_is_an_error_and_not_empty() -> None:
    with pytest.raises(KeyError):
        Store().lister.by_index("color", "red")


def test_dropping_what_is_not_there_is_not_announced() -> None:
    store = Store()
    feed = store.subscribe()
    store.writer.drop(obj("a", 1))
    assert not feed


def test_repr_says_how_much_is_held_and_whether_it_is_complete() -> None:
    store = Store({"labels": labels_of})
    assert repr(store) == "<Store 0 objects, not filled>"
    store.writer.replace(mapped(obj("a", 1)))
    assert repr(store) == "<Store 1 objects>"
