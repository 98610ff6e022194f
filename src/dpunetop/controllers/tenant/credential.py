"""The credential of the DPU pods: minted in the tenant, tried, renewed, and written where the pods mount it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import ClassVar

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.controllers.reconciler import Installation, TenantReconciler, blindness
from dpunetop.controllers.tenant.answercache import ExpiringCache
from dpunetop.controllers.tenant.calls import TenantCalls
from dpunetop.controllers.tenant.identity import IdentityReviewer
from dpunetop.controllers.tenant.routes import BuildTenant
from dpunetop.controllers.tenant.tokens import TokenRequester, write_refused
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import CredentialChoice, DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.credential.account import TenantSide, account_for
from dpunetop.domain.credential.facts import (
    CredentialView,
    Held,
    Minted,
    NotAsked,
    Provided,
    TokenRefused,
    TokenTrial,
    TokenUnanswered,
    as_dpu,
    expiry,
    minted_in,
    parse_held,
)
from dpunetop.domain.credential.nodeidentity import UNASKED, Identity
from dpunetop.domain.credential.plan import plan_credential
from dpunetop.domain.names import (
    KUBE_SYSTEM,
    OVNKUBE_NODE,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
    TENANT_CREDENTIAL,
    TENANT_KUBECONFIG,
)
from dpunetop.domain.ovnkube.release import release_of
from dpunetop.domain.ovnkube.topology import Topology, running_topology
from dpunetop.domain.pairing.entries import entries_of
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.domain.reasons import DPU_CREDENTIAL_VALID
from dpunetop.domain.tenant.credentialend import end_of
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, fingerprint
from dpunetop.domain.tenant.link import last_good
from dpunetop.kube.errors import Forbidden, Invalid, NotFound
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    DAEMONSETS,
    INFRA,
    NAMESPACES,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Key,
    Resource,
)
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Plan
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import WriteGate
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import GaugeMetrics, Metrics
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader, begin


class DpuCredential(TenantReconciler[CredentialView]):
    """Manages our ServiceAccount in the tenant, the Secret that DPU pods mount, and `DpuCredentialValid`.

    Guarantees: the order of the steps, in one or several passes: rights reviewed, ServiceAccount and bindings applied,
        token requested, token accepted, Secret written. A stop between any two loses at most a token that is not in
        use. The memory only saves requests.
    """

    name: ClassVar[str] = "credential"
    condition: ClassVar[str] = DPU_CREDENTIAL_VALID

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        clients: Callable[[str], Client],
        build_tenant: BuildTenant,
        clock: Clock,
        gate: WriteGate,
        metrics: Metrics,
    ) -> None:
        """`clients` gives the client of an engaged cluster. Raises: NotEngaged, where it has none."""
        super().__init__(installation, executor)
        self._clients = clients
        self._clock = clock
        self._ends = _Ends(metrics)
        self._build_tenant = build_tenant
        self._gate = gate
        self._answers: dict[str, ExpiringCache] = {}  # by cluster name; of one key only one pass at a time uses it

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`: host configuration alone needs no tenant."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> CredentialView:
        """See `ConfigReconciler.gather`: the objects in infra."""
        owner = Owner(config.live, self.owner(reader, config))
        stored = reader.one(INFRA, SECRETS, config.namespace, TENANT_KUBECONFIG)
        secret = reader.one(INFRA, SECRETS, config.namespace, TENANT_CREDENTIAL)
        kubeconfig, held = last_good(stored, owner), parse_held(secret, owner)
        self._ends.show(config, held, kubeconfig)
        return CredentialView(
            config=config,
            owner=owner,
            last_good=kubeconfig,
            stored=stored,
            secret=secret,
            held=held,
            trial=TokenTrial.UNTRIED,
            finding=NotAsked(),
            tenant=None,
            now=self._clock.now(),
            field_manager=self.manager,
            account=account_for(self.installation.home(config), None),
        )

    def probe(self, reader: Reader, view: CredentialView) -> CredentialView:
        """See `TenantReconciler.probe`: the rights, the credential of the pods, and a new token if one is due. The
        tenant's objects are read only after the right to read them was reviewed."""
        if view.last_good is None:
            return view
        asked = self._asked(reader, view)
        return replace(asked, now=self._clock.now(), identity=self._identity(reader, asked))

    def plan(self, view: CredentialView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_credential(view)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `ConfigReconciler.reconcile`; the next pass does without a write that the tenant has refused."""
        try:
            return super().reconcile(key, stop)
        except (Forbidden, Invalid, NotFound) as err:
            if err.cluster == tenant_cluster_name(key.namespace, key.name):
                write_refused(self._calls(err.cluster).answers, err)
            raise

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`: its metrics and answers are dropped."""
        self._ends.forget(key.namespace, key.name)
        self._answers.pop(tenant_cluster_name(key.namespace, key.name), None)

    def _identity(self, reader: Reader, view: CredentialView) -> Identity:
        """Whether admission accepts the pods' credential, once they use it."""
        hosts, tenant, who = self._hosts(reader, view.config), view.config.tenant_cluster, view.kubeconfig
        if not hosts or not self._is_engaged(tenant):
            return UNASKED
        reviewer = partial(IdentityReviewer, self._calls(tenant), self.manager)
        match view.held:
            case Minted() as held if view.trial is TokenTrial.ACCEPTED:
                about = (who.server, held.account_uid)
                return reviewer(as_dpu(who, held), view.account.user).ask(about, hosts)
            case Provided():
                return reviewer(who, "").ask(fingerprint(who), hosts)
            case _:
                return UNASKED

    def _hosts(self, reader: Reader, config: DpuClusterConfig) -> list[str]:
        """The hosts to which the DPU pods write, where a webhook may refuse that."""
        daemonset = reader.one(INFRA, DAEMONSETS, config.namespace, OVNKUBE_NODE)
        if running_topology(daemonset) is not Topology.INTERCONNECT:
            return []
        entries = entries_of(reader.one(INFRA, CONFIGMAPS, config.namespace, OVNKUBE_NODE_ENTRIES))
        return sorted({host for dpu, text in entries.items() if (host := host_of(dpu, text))})

    def _calls(self, tenant: str) -> TenantCalls:
        answers = self._answers.setdefault(tenant, ExpiringCache(self._clock))
        return TenantCalls(tenant, self._build_tenant, answers, self._clock, self._gate)

    def _is_engaged(self, tenant: str) -> bool:
        """Whether the tenant may be asked: not one that is disengaged, for instance because another cluster answers in
        its place."""
        try:
            self._clients(tenant)
        except NotEngaged:
            return False
        return True

    def _asked(self, reader: Reader, view: CredentialView) -> CredentialView:
        config, tenant = view.config, view.config.tenant_cluster
        try:
            reader.one(tenant, NAMESPACES, "", KUBE_SYSTEM)  # the key is woken when the tenant is engaged
            nodes = reader.one(tenant, DAEMONSETS, view.account.namespace, OVNKUBE_NODE)
            view = replace(view, account=account_for(view.account.namespace, release_of(nodes, None)))
            requester = TokenRequester(self._calls(tenant), self._clients(tenant), view)
            if config.tenant_credential is CredentialChoice.PROVIDED:
                return _with_provided(view, requester)
            if verdict := requester.review():
                return _without_rights(view, requester, verdict)
            side = _side(reader, view)
            trial = requester.trial(side)
            others = _others(reader, view)
        except (NotEngaged, NotSynced) as err:
            return replace(view, finding=TokenUnanswered("TenantNotRead", blindness(config, err)))
        finding = requester.minting(trial, side)
        return replace(view, finding=finding, trial=trial, tenant=side, superseded=others)


def _without_rights(
    view: CredentialView, requester: TokenRequester, verdict: TokenRefused | TokenUnanswered
) -> CredentialView:
    """The view if the kubeconfig may not mint, or the tenant does not answer whether it may."""
    if requester.is_silent:
        return replace(view, finding=verdict)
    is_given = isinstance(view.held, Provided)
    return replace(view, finding=verdict, trial=requester.provided() if is_given else requester.trial(None))


def _with_provided(view: CredentialView, requester: TokenRequester) -> CredentialView:
    trial = requester.provided()
    if trial is TokenTrial.UNTRIED:
        words = "the tenant could not be asked about the given kubeconfig"
        return replace(view, finding=TokenUnanswered("NotTried", words))
    return replace(view, trial=trial)


_BINDINGS = (ROLEBINDINGS, CLUSTERROLEBINDINGS)


def _side(reader: Reader, view: CredentialView) -> TenantSide:
    reads = [partial(_named, reader, view, each, view.account.name) for each in (SERVICEACCOUNTS, *_BINDINGS)]
    begin(*reads)
    return TenantSide(view.account, *(read() for read in reads))


def _others(reader: Reader, view: CredentialView) -> tuple[tuple[Resource, Obj], ...]:
    """Our objects under earlier names in that namespace, as far as the Secret records that we made them."""
    made = minted_in(view.stored) if view.stored is not None else ()
    earlier = [each for each in made if each.namespace == view.account.namespace and each != view.account]
    sought = [(resource, each.name) for each in earlier for resource in (*_BINDINGS, SERVICEACCOUNTS)]
    found = ((resource, _named(reader, view, resource, name)) for resource, name in sought)
    return tuple((r, obj) for r, obj in found if obj and labels_of(obj).get(OWNER_LABEL) == view.owner.hash)


def _named(reader: Reader, view: CredentialView, resource: Resource, name: str) -> Obj | None:
    place = view.account.namespace if resource.namespaced else ""
    return reader.one(view.config.tenant_cluster, resource, place, name)


class _Ends:
    """Metrics of when the credentials of each DpuClusterConfig expire, as far as known."""

    def __init__(self, metrics: Metrics) -> None:
        self._of_pods = metrics.gauge(
            "dpunetop_tenant_credential_expiry_timestamp_seconds",
            "Until when the credential of the DPU pods is good, where that is known.",
            "namespace",
            "name",
        )
        self._of_kubeconfig = metrics.gauge(
            "dpunetop_tenant_kubeconfig_expiry_timestamp_seconds",
            "Until when the kubeconfig that the operator uses in the tenant is good, where that is known.",
            "namespace",
            "name",
        )

    def show(self, config: DpuClusterConfig, held: Held, kubeconfig: TenantKubeconfig | None) -> None:
        """Set the metrics to the current credentials."""
        end = end_of(kubeconfig)
        self._set(self._of_pods, expiry(held, kubeconfig), config)
        self._set(self._of_kubeconfig, None if end is None else end.at, config)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the metrics of a DpuClusterConfig that is gone, or needs no credentials."""
        self._of_pods.clear(namespace, name)
        self._of_kubeconfig.clear(namespace, name)

    def _set(self, gauge: GaugeMetrics, end: datetime | None, config: DpuClusterConfig) -> None:
        if end is None:
            gauge.clear(config.namespace, config.name)
        else:
            gauge.set(end.timestamp(), config.namespace, config.name)
