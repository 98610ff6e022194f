"""H12: kubeconfigs that change in any order while the tenant's events are under way.

The tenants are real Clusters over scripted servers, with their threads; what the machine does falls between any two of
their callbacks. Whatever happened, there is at most one live client of a DpuClusterConfig, nothing is heard of a
cluster once it has been let go, and no watch outlives it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dpunetop.controllers.reconciler import Installation
from dpunetop.controllers.tenant.link import TenantLink
from dpunetop.controllers.tenant.routes import Candidate, TenantRoutes
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.domain.names import KUBE_SYSTEM
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, fingerprint
from dpunetop.domain.tenant.link import Linked
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, INFRA, Key
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import NotEngaged
from support.clock import FakeClock
from support.effort import times
from support.kubeconfigs import good_kubeconfig
from support.objects import NAMESPACE, config
from support.readers import ReadsByName
from support.scriptedsource import LossySource

NAME = f"tenant/{NAMESPACE}/sample"
KEY = Key(INFRA, NAMESPACE, "sample")
MAPS = Selection(CONFIGMAPS, "ns")
INFRA_UID = "uid-of-infra"
_GOOD = good_kubeconfig()
FILES = {letter: _GOOD.replace(b"token-of-a-test", f"token-{letter}".encode()) for letter in "abc"}
"""Of the same tenant, another one, and the third."""
UIDS = {"a": "uid-one", "b": "uid-one", "c": "uid-two"}
LETTERS = {fingerprint(parse_kubeconfig(data)): letter for letter, data in FILES.items()}
ERRORS = st.sampled_from(
    [Unreachable(0, "Refused", ""), Unreachable(0, "Timeout", ""), Unauthorized(401, "Unauthorized", ""),
     Forbidden(403, "Forbidden", ""), ApiError(500, "InternalError", "")]
)  # fmt: skip


class Tenant(LossySource):
    """The server behind one kubeconfig, as one client sees it."""

    anchor_pem = b""
    serving = None

    def __init__(self, letter: str, uid: str, error: ApiError | None) -> None:
        super().__init__()
        self.letter = letter
        self._uid = uid
        self._error = error

    def get(self, resource: Any, namespace: str, name: str, timeout_seconds: float) -> dict[str, Any]:
        if self._error is not None:
            raise self._error
        return {"metadata": {"name": name, "uid": self._uid}}


@dataclass
class Built:
    """One client that was made, and all that was heard from it."""

    tenant: Tenant
    cluster: Cluster
    is_over: bool = False
    heard: list[bool] = field(default_factory=list)
    """One a callback: whether the cluster had been let go before."""

    def hear(self, _: object = None) -> None:
        self.heard.append(self.is_over)


class Caches(ReadsByName):
    """What a pass of the controller reads: infra's Secret, and who each cluster is."""

    def __init__(self) -> None:
        self.secret: bytes | None = None
        self.kube_system: str | None = None

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> Any:
        if cluster == INFRA:
            return self._of_infra(name)
        if self.kube_system is None:
            raise NotEngaged(cluster)
        return {"metadata": {"name": name, "uid": self.kube_system}}

    def _of_infra(self, name: str) -> Any:
        if name == KUBE_SYSTEM:
            return {"metadata": {"name": name, "uid": INFRA_UID}}
        if name == "tenant-cluster-1-kubeconf" and self.secret is not None:
            return {"metadata": {"name": name}, "data": {"config": base64.b64encode(self.secret).decode()}}
        return None


class Linking(RuleBasedStateMachine):
    """Rotations, refusals, farewells, events."""

    def __init__(self) -> None:
        super().__init__()
        self.clusters = Clusters()
        self.clock = FakeClock()
        installation = Installation(None, "openshift-ovn-kubernetes", None, "dpunetop")
        self.routes = TenantRoutes((), lambda: ())
        self.link = TenantLink(installation, cast(Executor, None), self.clusters, self._build, self.clock, self.routes)
        self.caches = Caches()
        self.config: DpuClusterConfig = parse_config(config())
        self.error: ApiError | None = None
        self.built: list[Built] = []
        self.clusters.on_change(lambda _: self._note_farewells())
        self.writes = 0

    def teardown(self) -> None:
        self.link.forget(KEY)
        assert self.clusters.names() == []
        self.nothing_is_heard_of_a_cluster_after_its_end()

    # --- what happens ---

    @rule()
    def time_passes(self) -> None:
        self.clock.step(31.0)

    @rule(letter=st.sampled_from("abc"))
    def store_a_kubeconfig(self, letter: str) -> None:
        self.caches.secret = FILES[letter]

    @rule(data=st.sampled_from([None, b"garbage: [", b""]))
    def spoil_the_secret(self, data: bytes | None) -> None:
        self.caches.secret = data

    @rule(error=st.none() | ERRORS)
    def have_servers_answer(self, error: ApiError | None) -> None:
        self.error = error

    @rule()
    def reconcile(self) -> None:
        caches, engaged = cast(Any, self.caches), self.clusters.get(NAME)
        view = self.link.gather(caches, self.config)
        assert self.clusters.get(NAME) is engaged  # what may be slow, or changes something, comes after it
        view = self.link.probe(caches, view)
        if isinstance(view.attempt, Linked) and self.config.tenant_uid is None:
            self.config = replace(self.config, tenant_uid=view.attempt.tenant_uid)
        self._expect_the_last_good_one(view.attempt)

    @rule(is_same=st.booleans())
    @precondition(lambda self: self.clusters.get(NAME) is not None)
    def see_who_the_tenant_is(self, is_same: bool) -> None:
        self.caches.kube_system = UIDS[self._engaged().tenant.letter] if is_same else "uid-of-a-stranger"
        self.reconcile()
        self.caches.kube_system = None

    @rule(secret=st.sampled_from([None, "tenant-cluster-1-kubeconf"]))
    def change_what_is_asked_for(self, secret: str | None) -> None:
        self.config = replace(self.config, kubeconfig_secret=secret)

    @rule()
    def forget(self) -> None:
        self.link.forget(KEY)
        assert self.clusters.get(NAME) is None

    @rule(number=st.integers(1, 20))
    @precondition(lambda self: self.built)
    def have_all_servers_say_something(self, number: int) -> None:
        for built in self.built[-4:]:
            for _ in range(number):
                self.writes += 1
                built.tenant.put("x", n=self.writes)

    @rule()
    @precondition(lambda self: self.built)
    def cut_all_connections(self) -> None:
        for built in self.built:
            built.tenant.cut(Unreachable(0, "Reset", ""))

    # --- what always holds ---

    @invariant()
    def at_most_one_client_lives(self) -> None:
        engaged = self.clusters.get(NAME)
        assert [b.cluster for b in self.built if not b.cluster.stop.is_set()] == ([engaged] if engaged else [])

    @invariant()
    def nothing_is_heard_of_a_cluster_after_its_end(self) -> None:
        for built in self.built:
            assert not any(built.heard)

    @invariant()
    def no_watch_outlives_its_cluster(self) -> None:
        assert [b.tenant.open for b in self.built if b.is_over and b.tenant.open] == []

    @invariant()
    def only_the_accepted_cluster_is_engaged(self) -> None:
        if self.clusters.get(NAME) is not None and self.config.tenant_uid is not None:
            assert UIDS[self._engaged().tenant.letter] == self.config.tenant_uid

    # --- inside ---

    def _build(self, name: str, kubeconfig: TenantKubeconfig) -> Candidate:
        letter = LETTERS[fingerprint(kubeconfig)]
        tenant = Tenant(letter, UIDS[letter], self.error)
        cluster = Cluster(name, cast(Client, tenant), clock=FakeClock(), metrics=Metrics(), random=lambda: 0.0)
        built = Built(tenant, cluster)
        cluster.on_health(built.hear)
        cluster.share_informer(MAPS, built.hear)
        self.built.append(built)
        return Candidate(cluster, self.routes.begin(name, kubeconfig))

    def _engaged(self) -> Built:
        return next(b for b in self.built if b.cluster is self.clusters.get(NAME))

    def _note_farewells(self) -> None:
        """A cluster that was engaged once and cannot be found any more: from here on it has to be silent."""
        for built in self.built:
            if built.cluster.stop.is_set() and built.cluster is not self.clusters.get(NAME):
                built.is_over = True

    def _expect_the_last_good_one(self, attempt: object) -> None:
        """A kubeconfig that works is the one in use; without a kubeconfig asked for, none is."""
        if self.config.kubeconfig_secret is None:
            assert self.clusters.get(NAME) is None
        elif isinstance(attempt, Linked):
            assert self.caches.secret == FILES[self._engaged().tenant.letter]


TestLinking = Linking.TestCase
TestLinking.settings = settings(max_examples=times(10), stateful_step_count=25)
