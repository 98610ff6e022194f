"""H2: a reflector against a model of an API server that cuts, repeats, forgets, lies about nothing and is restored.

The model hands out every answer piece by piece, so that writes fall between any two of them. One thing it does not do:
serve a watch from a version of a history that a restore erased, once the new history has passed that version. No client
can tell such a watch from a sound one; real servers expire it, because their window begins at the restart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dpunetop.base import jsonio
from dpunetop.kube.errors import ApiError, Gone, TooManyRequests, Unreachable
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import uid_of, version_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.watch import WatchEvent
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.listwatch import Action, ListPages, ListWatchState, Pause, ProbeVersion, Watch, WatchList
from dpunetop.runtime.cache.store import Store
from dpunetop.runtime.flowcontrol import Backoff
from support.effort import times
from support.scriptedsource import NOT_SERVED, Page, bookmark, expired, obj

NAMES = st.sampled_from(["a", "b", "c"])
SILENCE = Unreachable(0, "IdleTimeout", "")
TOO_LARGE_VERSION = ApiError(504, "Timeout", "", causes=({"reason": "ResourceVersionTooLarge"},))
FAULTS = st.sampled_from(
    [
        Unreachable(0, "Reset", ""),
        Unreachable(0, "Refused", ""),
        TooManyRequests(429, "TooManyRequests", "", retry_after_seconds=1),
        ApiError(503, "ServiceUnavailable", ""),
        Gone(410, "Expired", ""),
        ApiError(0, "BadAnswer", ""),
        TOO_LARGE_VERSION,
    ]
)
KINDS = st.sampled_from(["put", "delete", "recreate"])
STEPS = st.integers(0, 6)
PAGE_SIZE = 2
WINDOW = 6


@dataclass
class Server:
    """What an API server holds of one collection, and the last part of how it came about."""

    version: int = 100
    era: int = 0  # how often it was restored
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: deque[tuple[int, WatchEvent]] = field(default_factory=deque)
    oldest: int = 100  # a watch from below it is expired
    uids: int = 0
    said: set[bytes] = field(default_factory=set)  # every state that ever was

    def put(self, name: str) -> None:
        self.version += 1
        known = self.objects.get(name)
        if known is None:
            self.uids += 1
        uid = uid_of(known) if known else f"uid-{self.uids}"
        self.objects[name] = obj(name, self.version, uid=uid, era=self.era)
        self.said.add(jsonio.canonical(self.objects[name]))
        self._note(WatchEvent("MODIFIED" if known else "ADDED", self.objects[name]))

    def delete(self, name: str) -> None:
        self.version += 1
        last = self.objects.pop(name)
        self._note(
            WatchEvent("DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.version)}})
        )

    def compact(self) -> None:
        self.version += 1
        self.history.clear()
        self.oldest = self.version

    def _note(self, event: WatchEvent) -> None:
        self.history.append((self.version, event))
        while len(self.history) > WINDOW:
            self.oldest = self.history.popleft()[0]


class ReflectorMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.backup: tuple[int, dict[str, dict[str, Any]]] = (100, {})
        self.store = Store()
        self.feed = self.store.subscribe()
        self.went_back: list[tuple[int, int]] = []
        self.should_report: list[tuple[int, int]] = []
        self.history = History()
        self.state = ListWatchState(
            Selection(CONFIGMAPS, "ns"),
            self.store.writer,
            lambda o: o,
            Backoff(0.8, 2.0, 30.0, 1.0, lambda: 0.5),
            self.history,
            lambda _, seen, got: self.went_back.append((seen, got)),
        )
        self.action: Action | None = None
        self.answer: deque[Page | WatchEvent] = deque()  # what is on its way
        self.position = 0  # up to where the open watch has been filled
        self.is_initial = False  # the open stream has not ended its first part
        self.is_blind = False  # the open watch is ahead of the server: nothing will come
        self.sent: list[WatchEvent] = []  # on this connection, without bookmarks
        self.era_listed = self.era_followed = 0
        self.serves_streams = True
        self.failures = 0  # in a row, without a pause or an event
        self.seen = 0  # the version that the reflector had reached when it last had one
        self.fell_to: int | None = None  # what a server said that had not come as far
        self.must_ask = False  # a watch has ended, and the server may be another since
        self.must_read = False  # somebody else has found another history
        self.has_turned = False  # while the action was under way
        self.session: dict[str, int] = {}  # versions shown since the last complete list, by uid
        self.gone: set[str] = set()  # uids told to be gone since the last complete list
        self.known: dict[str, str] = {}  # uid of each object that a follower of the feed believes in, by name
        self.told_gone: set[str] = set()
        self.ever: set[str] = set()

    @initialize(streams=st.booleans(), names=st.lists(NAMES, max_size=3), steps=st.integers(0, 8))
    def begin(self, streams: bool, names: list[str], steps: int) -> None:
        self.serves_streams = streams
        for name in names:
            self.server.put(name)
        self.go_on(steps)

    # -- the world

    @rule(changes=st.lists(st.tuples(KINDS, NAMES), min_size=1, max_size=4), steps=STEPS)
    def write(self, changes: list[tuple[str, str]], steps: int) -> None:
        for kind, name in changes:
            if kind != "put" and name in self.server.objects:
                self.server.delete(name)
            if kind != "delete":
                self.server.put(name)
        self.go_on(steps)

    @rule(is_restored=st.booleans(), names=st.lists(NAMES, max_size=3), steps=STEPS)
    def restore_or_compact(self, is_restored: bool, names: list[str], steps: int) -> None:
        if not is_restored:
            self.server.compact()
            self.backup = (self.server.version, jsonio.deep_copy(self.server.objects))
            return
        version, objects = self.backup
        before = self.server
        self.server = Server(
            version, before.era + 1, jsonio.deep_copy(objects), deque(), version, before.uids, before.said
        )
        for name in names:
            self.server.put(name)
        if self.action is not None:
            self.fail(Unreachable(0, "Reset", "restarted"))
        self.go_on(steps)

    @rule(is_cut=st.booleans(), steps=STEPS)
    def another_finds_a_new_history(self, is_cut: bool, steps: int) -> None:
        self.history.turn(self.history.number)
        self.must_read = self.has_turned = True
        assert self.state.reached is None
        if is_cut and self.action is not None:
            self.fail(Unreachable(0, "Reset", "connections closed"))
        self.go_on(steps)

    # -- the connection

    @rule(steps=st.integers(1, 8))
    def go_on(self, steps: int) -> None:
        """Let what is under way come in, piece by piece."""
        for _ in range(steps):
            if self.action is None:
                self.ask()
            else:
                self.deliver()

    @rule(error=FAULTS, times=st.sampled_from([1, 1, 1, 6]))
    def break_off(self, error: ApiError, times: int) -> None:
        for _ in range(times):
            if self.action is None:
                self.ask()
            if self.action is not None:
                self.fail(error)
        self.go_on(4)

    @precondition(lambda self: self.sent and isinstance(self.action, WatchList | Watch))
    @rule(data=st.data(), is_marked=st.booleans())
    def repeat(self, data: st.DataObject, is_marked: bool) -> None:
        """The last events of this connection once more, maybe behind a bookmark."""
        if is_marked and not self.is_blind:
            self.mark()
        if not self.sent:
            return
        for event in self.sent[-data.draw(st.integers(1, len(self.sent))) :]:
            if self.action is not None:
                self.hand_over(event)

    @precondition(lambda self: isinstance(self.action, WatchList | Watch) and not self.is_blind)
    @rule()
    def mark(self) -> None:
        """A bookmark, be it before the first part of a stream is over."""
        self.refill()
        if self.is_initial:
            self.answer.appendleft(bookmark(self.server.version))
        elif self.position == self.server.version and not self.is_expiring():
            self.answer.append(bookmark(self.server.version))
        self.go_on(len(self.answer))

    @precondition(lambda self: isinstance(self.action, WatchList | Watch))
    @rule(lasted=st.sampled_from([None, 0.0, 300.0]))
    def end_quietly(self, lasted: float | None) -> None:
        """By the server's time-out, or by our own when nothing comes."""
        if lasted is None or self.is_blind:
            self.fail(SILENCE)
        else:
            self.must_ask = isinstance(self.action, Watch) or not self.is_initial
            self.action = None
            self.state.ended(lasted)

    # -- how it is carried out

    def ask(self) -> None:
        action = self.state.next()
        if isinstance(action, Pause):
            assert action.seconds >= 0.8
            self.failures = 0
            return
        assert not self.must_read or isinstance(action, WatchList | ListPages)
        self.has_turned = False
        self.action, self.answer, self.sent = action, deque(), []
        self.is_initial = self.is_blind = False
        match action:
            case ListPages():
                items = list(self.server.objects.values())
                parts = [items[i : i + PAGE_SIZE] for i in range(0, len(items), PAGE_SIZE)] or [[]]
                self.answer.extend(Page(part, str(self.server.version)) for part in parts)
                self.listed_version, self.era_listed = self.server.version, self.server.era
            case WatchList():
                self.open_stream()
            case ProbeVersion():
                assert self.must_ask
            case Watch(version):
                assert not self.must_ask
                self.position = int(version)
                self.is_blind = self.era_followed != self.server.era

    def open_stream(self) -> None:
        if not self.serves_streams:
            self.fail(NOT_SERVED)
            return
        self.is_initial, self.era_listed = True, self.server.era
        self.answer.extend(WatchEvent("ADDED", item) for item in self.server.objects.values())
        self.position = self.server.version

    def deliver(self) -> None:
        if isinstance(self.action, ProbeVersion):
            self.tell_version()
            return
        self.refill()
        if self.answer:
            self.hand_over(self.answer.popleft())
        elif isinstance(self.action, ListPages):
            self.action = None
            before = self.state.resource_version
            self.state.ended(0.1)
            self.note_completion(before, self.listed_version)

    def tell_version(self) -> None:
        self.action, self.must_ask = None, False
        if self.server.version < self.seen:
            self.fell_to = self.server.version
        self.state.answered(str(self.server.version))
        assert (self.state.reached is None) == (self.fell_to is not None or self.must_read)

    def refill(self) -> None:
        """Put what has happened since on its way; one who is too slow for the window is expired."""
        if isinstance(self.action, ListPages) or self.is_blind or self.is_expiring():
            return
        if self.position < self.server.oldest:
            self.answer.append(expired())
            return
        self.answer.extend(event for version, event in self.server.history if version > self.position)
        self.position = self.server.version
        if self.is_initial and not self.answer:
            self.answer.append(bookmark(self.server.version, ends_initial=True))

    def has_more(self) -> bool:
        is_listing = self.is_initial or isinstance(self.action, ListPages)
        return is_listing or bool(self.answer) or self.position < self.server.version

    def is_expiring(self) -> bool:
        last = self.answer[-1] if self.answer else None
        return isinstance(last, WatchEvent) and last.type == "ERROR"

    def hand_over(self, part: Page | WatchEvent) -> None:
        before = self.state.resource_version
        if isinstance(part, WatchEvent) and part.type in ("ADDED", "MODIFIED", "DELETED"):
            self.sent = [*self.sent, part][-10:]
            self.failures = 0
        try:
            self.state.take(part)
        except ApiError as error:
            self.fail(error)
            return
        if isinstance(part, WatchEvent):
            self.note_completion(before, self.server.version)

    def note_completion(self, before: str, version: int) -> None:
        if before:
            self.seen = max(int(self.state.resource_version), self.seen)
        elif self.state.resource_version:
            is_found_by_itself = self.fell_to is None and version < self.seen
            self.must_read = self.has_turned and not is_found_by_itself
            if self.fell_to is not None or version < self.seen:
                self.should_report.append((self.seen, version if self.fell_to is None else self.fell_to))
            self.seen, self.fell_to, self.must_ask = version, None, False
            self.session.clear()
            self.gone.clear()
            self.era_followed, self.is_initial = self.era_listed, False

    def fail(self, error: ApiError) -> None:
        self.must_ask = True
        self.action = None
        self.failures = 0 if error is SILENCE else self.failures + 1
        assert self.failures <= 3, "the server is pressed"
        self.state.failed(error)

    # -- what holds

    @invariant()
    def what_is_told_is_in_order_and_complete(self) -> None:
        while self.feed:
            item = self.feed.popleft()
            if isinstance(item, Change):
                self.follow(item)
        stored = {o["metadata"]["name"]: uid_of(o) for o in self.store.lister.list()}
        assert self.known == stored

    def follow(self, change: Change) -> None:
        some = change.new or change.old
        assert some is not None
        name = some["metadata"]["name"]
        if change.old is not None and change.old is not change.new:
            if change.new is None or uid_of(change.new) != uid_of(change.old):
                self.told_gone.add(self.known[name])
        else:
            assert name not in self.known
        if change.new is None:
            self.gone.add(self.known.pop(name))
        else:
            assert uid_of(change.new) not in self.gone
            self.known[name] = uid_of(change.new)
            self.ever.add(self.known[name])

    @invariant()
    def no_object_goes_back_within_a_session(self) -> None:
        for o in self.store.lister.list():
            uid, version = uid_of(o), int(version_of(o))
            assert self.session.get(uid, 0) <= version
            self.session[uid] = version

    @invariant()
    def who_has_received_everything_holds_what_the_server_holds(self) -> None:
        is_open = isinstance(self.action, WatchList | Watch) and not self.is_blind
        if is_open and not self.has_more():
            assert {o["metadata"]["name"]: o for o in self.store.lister.list()} == self.server.objects

    @invariant()
    def what_is_stored_was_once_true(self) -> None:
        for o in self.store.lister.list():
            assert jsonio.canonical(o) in self.server.said

    @invariant()
    def going_back_is_reported_and_nothing_else(self) -> None:
        assert self.went_back == self.should_report

    def teardown(self) -> None:
        """Without further faults the store becomes what the server holds, in a bounded number of steps."""
        for _ in range(200):
            if self.action is None:
                self.ask()
            elif self.is_blind:
                self.fail(SILENCE)
            elif (
                self.answer
                or self.is_initial
                or isinstance(self.action, ProbeVersion)
                or self.position < self.server.version
                or isinstance(self.action, ListPages)
            ):
                self.deliver()
            else:
                break
        else:
            raise AssertionError(f"not at rest: {self.action} {self.answer}")
        self.what_is_told_is_in_order_and_complete()
        assert {o["metadata"]["name"]: o for o in self.store.lister.list()} == self.server.objects
        assert self.store.is_filled()
        alive: set[str] = {uid_of(o) for o in self.server.objects.values()}
        assert self.ever - alive <= self.told_gone


TestReflectorMachine = ReflectorMachine.TestCase
TestReflectorMachine.settings = settings(max_examples=times(25), stateful_step_count=50)
