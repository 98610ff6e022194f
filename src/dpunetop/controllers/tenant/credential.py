"""The credential of the DPU pods: minted in the tenant, tried, renewed, and written where the pods mount it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.controllers.reconciler import ConfigReconciler, Installation, blindness
from dpunetop.controllers.tenant.answercache import ExpiringCache
from dpunetop.controllers.tenant.identity import IdentityReviewer
from dpunetop.controllers.tenant.tokens import BuildTenant, TokenRequester, write_refused
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import CredentialChoice, DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.credential.account import OPENSHIFT_ACCOUNT, Account, TenantSide, account_for
from dpunetop.domain.credential.nodeidentity import Identity, Unasked
from dpunetop.domain.credential.plan import (
    CredentialView,
    Finding,
    Held,
    Minted,
    NotAsked,
    Provided,
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
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import GaugeMetrics, Metrics
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader


class DpuCredential(ConfigReconciler[CredentialView]):
    """Sees to our ServiceAccount in the tenant, the Secret that DPU pods mount, and `DpuCredentialValid`.

    Guarantees: in this order, each step in a pass of its own or of a later one: rights reviewed, ServiceAccount and
        bindings applied, token asked for, token accepted, Secret written. A stop between any two loses at most a token
        that nobody holds. What is kept in memory only saves questions.
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
        metrics: Metrics,
    ) -> None:
        """`clients` gives the client of an engaged cluster. Raises: NotEngaged, where it has none."""
        super().__init__(installation, executor)
        self._clients = clients
        self._build_tenant = build_tenant
        self._clock = clock
        self._expiry = _expiry_gauge(metrics)
        self._answers = ExpiringCache(clock)

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigController.serves`: host configuration alone needs no tenant."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> CredentialView:
        """See `ConfigController.gather`; also asks the tenant what no cache can answer, a new token included."""
        owner = Owner(config.live, self.owner(reader, config))
        stored = self._secret(reader, config, TENANT_KUBECONFIG)
        secret = self._secret(reader, config, TENANT_CREDENTIAL)
        kubeconfig, held = last_good(stored, owner), parse_held(secret, owner)
        self._show(config, held, kubeconfig)
        outcome = self._outcome(reader, config, owner, kubeconfig, stored, held)
        return CredentialView(
            config=config,
            owner=owner,
            kubeconfig=kubeconfig,
            stored=stored,
            secret=secret,
            held=held,
            trial=outcome.trial,
            finding=outcome.finding,
            tenant=outcome.side,
            now=self._clock.now(),
            field_manager=self.manager,
            who=outcome.who,
            superseded=outcome.superseded,
            identity=self._identity(reader, config, kubeconfig, held, outcome),
        )

    def plan(self, view: CredentialView) -> Plan:
        """See `ConfigController.plan`."""
        return plan_credential(view)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `ConfigController.reconcile`; what the tenant refuses to have written, the next pass does without."""
        try:
            return super().reconcile(key, stop)
        except (Forbidden, Invalid, NotFound) as err:
            if err.cluster == tenant_cluster_name(key.namespace, key.name):
                write_refused(self._answers, err.cluster, err)
            raise

    def forget(self, key: Key) -> None:
        """See `ConfigController.forget`: no series and no answer of it is left."""
        self._expiry.clear(key.namespace, key.name)
        self._answers.forget(tenant_cluster_name(key.namespace, key.name))

    def _secret(self, reader: Reader, config: DpuClusterConfig, name: str) -> Obj | None:
        return self._local(reader, config, SECRETS, name)

    def _local(self, reader: Reader, config: DpuClusterConfig, resource: Resource, name: str) -> Obj | None:
        return reader.one(INFRA, resource, config.namespace, name)

    def _show(self, config: DpuClusterConfig, held: Held, kubeconfig: TenantKubeconfig | None) -> None:
        end = expiry(held, kubeconfig)
        if end is None:
            self._expiry.clear(config.namespace, config.name)
        else:
            self._expiry.set(end.timestamp(), config.namespace, config.name)

    def _identity(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        kubeconfig: TenantKubeconfig | None,
        held: Held,
        outcome: _Outcome,
    ) -> Identity:
        """Whether what pods hold is admitted, once it is what they work with."""
        hosts, tenant = self._hosts(reader, config), config.tenant_cluster
        if kubeconfig is None or not hosts or not self._is_engaged(tenant):
            return Unasked()
        token_requester = IdentityReviewer(tenant, self._build_tenant, self._answers, self._clock, self.manager)
        match held:
            case Minted() if outcome.trial is TokenTrial.ACCEPTED:
                about = (kubeconfig.server, held.account_uid)
                return token_requester.ask(
                    as_dpu(kubeconfig, held), about, outcome.who.user(self._namespace(config)), hosts
                )
            case Provided():
                return token_requester.ask(kubeconfig, fingerprint(kubeconfig), "", hosts)
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

    def _outcome(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        owner: Owner,
        kubeconfig: TenantKubeconfig | None,
        stored: Obj | None,
        held: Held,
    ) -> _Outcome:
        if kubeconfig is None:
            return _Outcome(NotAsked())
        tenant, namespace = config.tenant_cluster, self._namespace(config)
        try:
            reader.one(tenant, NAMESPACES, "", KUBE_SYSTEM)  # be woken when the tenant comes
            who = self._who(reader, tenant, namespace)
            client = self._clients(tenant)
            token_requester = TokenRequester(
                client, self._build_tenant, self._answers, self._clock, kubeconfig, namespace, who
            )
            if config.tenant_credential is CredentialChoice.PROVIDED:
                return _provided(token_requester)
            verdict = token_requester.review()
            side = None if verdict else _side(reader, tenant, namespace, who)
            if isinstance(held, Provided) and verdict is not None and not token_requester.is_silent:
                return _Outcome(verdict, token_requester.provided(), who=who)
            trial = TokenTrial.UNTRIED if token_requester.is_silent else token_requester.trial(held, side)
            others = () if side is None else _others(reader, tenant, namespace, who, owner, stored)
        except (NotEngaged, NotSynced) as err:
            return _Outcome(TokenUnanswered("TenantNotRead", f"the tenant has not been read: {blindness(config, err)}"))
        if verdict is not None or side is None:
            return _Outcome(verdict or NotAsked(), trial, who=who)
        return _Outcome(token_requester.minting(held, trial, side, owner.hash), trial, side, who, others)


@dataclass(frozen=True, slots=True)
class _Outcome:
    finding: Finding
    trial: TokenTrial = TokenTrial.UNTRIED
    side: TenantSide | None = None
    who: Account = OPENSHIFT_ACCOUNT
    superseded: tuple[tuple[Resource, Obj], ...] = ()


def _provided(token_requester: TokenRequester) -> _Outcome:
    trial = token_requester.provided()
    if trial is TokenTrial.UNTRIED:
        return _Outcome(TokenUnanswered("NotTried", "the tenant could not be asked about the given kubeconfig"))
    return _Outcome(NotAsked(), trial)


def _side(reader: Reader, tenant: str, namespace: str, who: Account) -> TenantSide:
    found = (_named(reader, tenant, each, namespace, who.name) for each in (SERVICEACCOUNTS, *_BINDINGS))
    account, role_binding, cluster_role_binding = found
    return TenantSide(namespace, account, role_binding, cluster_role_binding, who)


_BINDINGS = (ROLEBINDINGS, CLUSTERROLEBINDINGS)


def _others(
    reader: Reader, tenant: str, namespace: str, who: Account, owner: Owner, stored: Obj | None
) -> tuple[tuple[Resource, Obj], ...]:
    """What bears a name of ours in that namespace that is not today's, as far as we noted that we made it."""
    places = minted_in(stored) if stored is not None else ()
    known = [name for place, name in places if place == namespace and name != who.name]
    sought = [(resource, name) for name in known for resource in (*_BINDINGS, SERVICEACCOUNTS)]
    found = ((resource, _named(reader, tenant, resource, namespace, name)) for resource, name in sought)
    ours = ((r, obj) for r, obj in found if obj is not None and labels_of(obj).get(OWNER_LABEL) == owner.hash)
    return tuple(ours)


def _named(reader: Reader, tenant: str, resource: Resource, namespace: str, name: str) -> Obj | None:
    place = namespace if resource.namespaced else ""
    return reader.one(tenant, resource, place, name)


def _expiry_gauge(metrics: Metrics) -> GaugeMetrics:
    return metrics.gauge(
        "dpunetop_tenant_credential_expiry_timestamp_seconds",
        "Until when the credential of the DPU pods is good, where that is known.",
        "namespace",
        "name",
    )
