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
from dpunetop.controllers.tenant.identity import IdentityReviewer
from dpunetop.controllers.tenant.tokens import BuildTenant, TokenRequester, write_refused
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import CredentialChoice, DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.credential.account import Account, TenantSide, account_for
from dpunetop.domain.credential.nodeidentity import Identity, Unasked
from dpunetop.domain.credential.plan import (
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
    plan_credential,
)
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
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig, fingerprint
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
    """Sees to our ServiceAccount in the tenant, the Secret that DPU pods mount, and `DpuCredentialValid`.

    Guarantees: in this order, each step in a pass of its own or of a later one: rights reviewed, ServiceAccount and
        bindings applied, token asked for, token accepted, Secret written. A stop between any two loses at most a token
        that is not in use. What is kept in memory only saves requests.
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
        self._build_tenant = build_tenant
        self._clock = clock
        self._gate = gate
        self._ends = _Ends(metrics)
        self._answers = ExpiringCache(clock)

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`: host configuration alone needs no tenant."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> CredentialView:
        """See `ConfigReconciler.gather`: what infra has."""
        owner = Owner(config.live, self.owner(reader, config))
        stored = self._secret(reader, config, TENANT_KUBECONFIG)
        secret = self._secret(reader, config, TENANT_CREDENTIAL)
        kubeconfig, held = last_good(stored, owner), parse_held(secret, owner)
        self._ends.show(config, held, kubeconfig)
        return CredentialView(
            config=config,
            owner=owner,
            kubeconfig=kubeconfig,
            stored=stored,
            secret=secret,
            held=held,
            trial=TokenTrial.UNTRIED,
            finding=NotAsked(),
            tenant=None,
            now=self._clock.now(),
            field_manager=self.manager,
        )

    def probe(self, reader: Reader, view: CredentialView) -> CredentialView:
        """See `TenantReconciler.probe`: rights, the credential that pods hold, a new token if that is due. What a right
        allows to read in the tenant is read after the right was reviewed."""
        if view.kubeconfig is None:
            return view
        asked = self._asked(reader, view, view.kubeconfig)
        return replace(asked, now=self._clock.now(), identity=self._identity(reader, asked, view.kubeconfig))

    def plan(self, view: CredentialView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_credential(view)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `ConfigReconciler.reconcile`; what the tenant refuses to have written, the next pass does without."""
        try:
            return super().reconcile(key, stop)
        except (Forbidden, Invalid, NotFound) as err:
            if err.cluster == tenant_cluster_name(key.namespace, key.name):
                write_refused(self._answers, err.cluster, err)
            raise

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`: no series and no answer of it is left."""
        self._ends.forget(key.namespace, key.name)
        self._answers.forget(tenant_cluster_name(key.namespace, key.name))

    def _secret(self, reader: Reader, config: DpuClusterConfig, name: str) -> Obj | None:
        return self._local(reader, config, SECRETS, name)

    def _local(self, reader: Reader, config: DpuClusterConfig, resource: Resource, name: str) -> Obj | None:
        return reader.one(INFRA, resource, config.namespace, name)

    def _identity(self, reader: Reader, view: CredentialView, kubeconfig: TenantKubeconfig) -> Identity:
        """Whether what pods hold is admitted, once it is what they work with."""
        hosts, tenant, held = self._hosts(reader, view.config), view.config.tenant_cluster, view.held
        if not hosts or not self._is_engaged(tenant):
            return Unasked()
        reviewer = IdentityReviewer(tenant, self._build_tenant, self._answers, self._clock, self._gate, self.manager)
        match held:
            case Minted() if view.trial is TokenTrial.ACCEPTED:
                about = (kubeconfig.server, held.account_uid)
                user = view.who.user(self._namespace(view.config))
                return reviewer.ask(as_dpu(kubeconfig, held), about, user, hosts)
            case Provided():
                return reviewer.ask(kubeconfig, fingerprint(kubeconfig), "", hosts)
            case _:
                return Unasked()

    def _namespace(self, config: DpuClusterConfig) -> str:
        """Of OVN-Kubernetes in the tenant."""
        return config.tenant_namespace or self.installation.tenant_namespace

    def _who(self, reader: Reader, tenant: str, namespace: str) -> Account:
        """Raises: NotSynced, NotEngaged."""
        nodes = reader.one(tenant, DAEMONSETS, namespace, OVNKUBE_NODE)
        return account_for(release_of(nodes, None))

    def _hosts(self, reader: Reader, config: DpuClusterConfig) -> list[str]:
        """Those that the DPU pods write to, where there is a webhook that may refuse it."""
        daemonset = self._local(reader, config, DAEMONSETS, OVNKUBE_NODE)
        if running_topology(daemonset) is not Topology.INTERCONNECT:
            return []
        entries = entries_of(self._local(reader, config, CONFIGMAPS, OVNKUBE_NODE_ENTRIES))
        return sorted({host for dpu, text in entries.items() if (host := host_of(dpu, text))})

    def _is_engaged(self, tenant: str) -> bool:
        """A tenant that is not, another one in its place for instance, is asked nothing."""
        try:
            self._clients(tenant)
        except NotEngaged:
            return False
        return True

    def _asked(self, reader: Reader, view: CredentialView, kubeconfig: TenantKubeconfig) -> CredentialView:
        config = view.config
        tenant, namespace = config.tenant_cluster, self._namespace(config)
        try:
            reader.one(tenant, NAMESPACES, "", KUBE_SYSTEM)  # be woken when the tenant comes
            view = replace(view, who=self._who(reader, tenant, namespace))
            client = self._clients(tenant)
            requester = TokenRequester(
                client, self._build_tenant, self._answers, self._clock, self._gate, kubeconfig, namespace, view.who
            )
            if config.tenant_credential is CredentialChoice.PROVIDED:
                return _with_provided(view, requester)
            if verdict := requester.review():
                return _without_rights(view, requester, verdict)
            side = _side(reader, tenant, namespace, view.who)
            trial = requester.trial(view.held, side)
            others = _others(reader, tenant, namespace, view.who, view.owner, view.stored)
        except (NotEngaged, NotSynced) as err:
            words = f"the tenant has not been read: {blindness(config, err)}"
            return replace(view, finding=TokenUnanswered("TenantNotRead", words))
        finding = requester.minting(view.held, trial, side, view.owner.hash)
        return replace(view, finding=finding, trial=trial, tenant=side, superseded=others)


def _without_rights(
    view: CredentialView, requester: TokenRequester, verdict: TokenRefused | TokenUnanswered
) -> CredentialView:
    """The kubeconfig may not mint, or the tenant does not say whether it may."""
    if requester.is_silent:
        return replace(view, finding=verdict)
    is_given = isinstance(view.held, Provided)
    return replace(view, finding=verdict, trial=requester.provided() if is_given else requester.trial(view.held, None))


def _with_provided(view: CredentialView, requester: TokenRequester) -> CredentialView:
    trial = requester.provided()
    if trial is TokenTrial.UNTRIED:
        words = "the tenant could not be asked about the given kubeconfig"
        return replace(view, finding=TokenUnanswered("NotTried", words))
    return replace(view, trial=trial)


def _side(reader: Reader, tenant: str, namespace: str, who: Account) -> TenantSide:
    reads = [partial(_named, reader, tenant, each, namespace, who.name) for each in (SERVICEACCOUNTS, *_BINDINGS)]
    begin(*reads)
    account, role_binding, cluster_role_binding = (read() for read in reads)
    return TenantSide(namespace, account, role_binding, cluster_role_binding, who)


_BINDINGS = (ROLEBINDINGS, CLUSTERROLEBINDINGS)


def _others(
    reader: Reader, tenant: str, namespace: str, who: Account, owner: Owner, stored: Obj | None
) -> tuple[tuple[Resource, Obj], ...]:
    """Objects with earlier names of ours in that namespace, as far as the Secret notes that we made them."""
    places = minted_in(stored) if stored is not None else ()
    known = [name for place, name in places if place == namespace and name != who.name]
    sought = [(resource, name) for name in known for resource in (*_BINDINGS, SERVICEACCOUNTS)]
    found = ((resource, _named(reader, tenant, resource, namespace, name)) for resource, name in sought)
    ours = ((r, obj) for r, obj in found if obj is not None and labels_of(obj).get(OWNER_LABEL) == owner.hash)
    return tuple(ours)


def _named(reader: Reader, tenant: str, resource: Resource, namespace: str, name: str) -> Obj | None:
    place = namespace if resource.namespaced else ""
    return reader.one(tenant, resource, place, name)


class _Ends:
    """Tells metrics until when the credentials of each DpuClusterConfig are good, as far as that is known."""

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
        """They are these now."""
        end = end_of(kubeconfig)
        self._set(self._of_pods, expiry(held, kubeconfig), config)
        self._set(self._of_kubeconfig, None if end is None else end.at, config)

    def forget(self, namespace: str, name: str) -> None:
        """The DpuClusterConfig is gone, or needs none."""
        self._of_pods.clear(namespace, name)
        self._of_kubeconfig.clear(namespace, name)

    def _set(self, gauge: GaugeMetrics, end: datetime | None, config: DpuClusterConfig) -> None:
        if end is None:
            gauge.clear(config.namespace, config.name)
        else:
            gauge.set(end.timestamp(), config.namespace, config.name)
