"""H3: whatever is written in whatever order, an index is what one would compute anew, and a query is one state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dpunetop.base import jsonio
from dpunetop.kube.meta import Obj
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.store import Store
from support.scriptedsource import obj

NAMES = st.sampled_from(["a", "b", "c", "d"])
NAMESPACES = st.sampled_from(["one", "two"])
COLORS = st.lists(st.sampled_from(["red", "green", "blue"]), max_size=3)
VALUES = ["red", "green", "blue"]


def by_color(o: Obj) -> Iterable[str]:
    return set(o.get("colors", ()))


def by_amount(o: Obj) -> Iterable[str]:
    return [str(len(o.get("colors", ())))]


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store({"color": by_color, "amount": by_amount})
        self.feed = self.store.subscribe()
        self.model: dict[tuple[str, str], dict[str, Any]] = {}
        self.followed: dict[tuple[str, str], Obj] = {}
        self.version = 0
        self.taken: list[tuple[list[Obj], bytes]] = []

    def made(self, namespace: str, name: str, colors: list[str]) -> dict[str, Any]:
        self.version += 1
        return obj(name, self.version, namespace=namespace, colors=colors)

    @rule(namespace=NAMESPACES, name=NAMES, colors=COLORS)
    def put(self, namespace: str, name: str, colors: list[str]) -> None:
        made = self.made(namespace, name, colors)
        self.store.writer.put(made)
        self.model[namespace, name] = made

    @rule(namespace=NAMESPACES, name=NAMES, colors=COLORS)
    def drop(self, namespace: str, name: str, colors: list[str]) -> None:
        self.store.writer.drop(self.made(namespace, name, colors))
        self.model.pop((namespace, name), None)

    @rule(content=st.dictionaries(st.tuples(NAMESPACES, NAMES), COLORS))
    def replace(self, content: dict[tuple[str, str], list[str]]) -> None:
        self.model = {place: self.made(*place, colors) for place, colors in content.items()}
        self.store.writer.replace(self.model)

    @rule()
    def take(self) -> None:
        taken = self.store.lister.list()
        self.taken.append((taken, jsonio.canonical(taken)))

    @invariant()
    def objects_and_indexes_are_what_the_model_says(self) -> None:
        assert {place: self.store.lister.get(*place) for place in self.model} == self.model
        assert _sorted(self.store.lister.list()) == _sorted(self.model.values())
        assert _sorted(self.store.lister.list("one")) == _sorted(o for (ns, _), o in self.model.items() if ns == "one")
        for value in VALUES:
            expected = [o for o in self.model.values() if value in o["colors"]]
            assert _sorted(self.store.lister.by_index("color", value)) == _sorted(expected)
        for amount in range(4):
            expected = [o for o in self.model.values() if len(o["colors"]) == amount]
            assert _sorted(self.store.lister.by_index("amount", str(amount))) == _sorted(expected)

    @invariant()
    def an_answer_once_given_does_not_change(self) -> None:
        assert all(jsonio.canonical(taken) == before for taken, before in self.taken)

    @invariant()
    def who_follows_the_feed_knows_the_same_names_and_contents(self) -> None:
        while self.feed:
            change = self.feed.popleft()
            if isinstance(change, Change):
                self.follow(change)
        assert {p: o["colors"] for p, o in self.followed.items()} == {p: o["colors"] for p, o in self.model.items()}

    def follow(self, change: Change) -> None:
        known = change.new or change.old
        assert known is not None
        place = (known["metadata"]["namespace"], known["metadata"]["name"])
        if change.new is None:
            del self.followed[place]
        else:
            assert (change.old is None) == (place not in self.followed)
            self.followed[place] = change.new


def _sorted(objects: Iterable[Obj]) -> list[bytes]:
    return sorted(jsonio.canonical(o) for o in objects)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(stateful_step_count=30)
