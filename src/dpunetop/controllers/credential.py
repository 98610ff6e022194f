"""The credential of the DPU pods: minted in the tenant, tried, renewed, and written where the pods mount it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, assert_never

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.controllers.flow import ConfigController, Installation, blindness, one
from dpunetop.domain.credential import (
    POWERLESS,
    TRY_SECONDS,
    CredentialView,
    Finding,
    Fresh,
    Held,
    Minted,
    NotAsked,
    Preparing,
    Refused,
    Standing,
    Trial,
    Unanswered,
    as_dpu,
    expiry,
    parse_held,
    parse_minted,
    plan_credential,
)
from dpunetop.domain.names import DPU_ACCOUNT, KUBE_SYSTEM, TENANT_CREDENTIAL, TENANT_KUBECONFIG
from dpunetop.domain.ownership import Owner
from dpunetop.domain.quoting import quoted
from dpunetop.domain.status import DPU_CREDENTIAL_VALID
from dpunetop.domain.tenantaccount import (
    RIGHTS_OF_PODS,
    TOKEN_REQUEST,
    WHO_AM_I,
    Right,
    TenantSide,
    access_review,
    is_allowed,
    named,
    rights_to_mint,
)
from dpunetop.domain.tenantkubeconfig import TenantKubeconfig, fingerprint
from dpunetop.domain.tenantlink import last_good
from dpunetop.domain.types import CredentialChoice, DpuClusterConfig, tenant_cluster_name
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    INFRA,
    NAMESPACES,
    ROLEBINDINGS,
    SECRETS,
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTREVIEWS,
    SERVICEACCOUNTS,
    Key,
    Resource,
)
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Plan
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import GaugeMetrics, Metrics
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

_CALL_SECONDS = 5.0
_TALK_SECONDS = 15.0
_REUSE_SECONDS = 60.0
_WRITES = "writes"

BuildTenant = Callable[[str, TenantKubeconfig], Cluster]
"""Makes the Cluster of that name, not yet running, behind that kubeconfig."""


class DpuCredential(ConfigController[CredentialView]):
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
        self._memory = _Memory(clock)

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
        outcome = self._outcome(reader, config, owner, kubeconfig, held)
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
        )

    def plan(self, view: CredentialView) -> Plan:
        """See `ConfigController.plan`."""
        return plan_credential(view)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `ConfigController.reconcile`; a tenant that refuses a write that it said it allows counts as one that
        does not allow it, so that the next pass knows what to do instead."""
        try:
            return super().reconcile(key, stop)
        except (Forbidden, Invalid, NotFound) as err:  # if infra's, it does no harm: what is complete is not refused
            message = f"the tenant answers {err.code} to ServiceAccount {DPU_ACCOUNT} or one of its bindings"
            refused = Refused("MintingForbidden", message)
            self._memory.put(tenant_cluster_name(key.namespace, key.name), _WRITES, "", refused, TRY_SECONDS)
            raise

    def forget(self, key: Key) -> None:
        """See `ConfigController.forget`: no series and no answer of it is left."""
        self._expiry.clear(key.namespace, key.name)
        self._memory.forget(tenant_cluster_name(key.namespace, key.name))

    def _secret(self, reader: Reader, config: DpuClusterConfig, name: str) -> Obj | None:
        return reader.get(INFRA, one(SECRETS, config.namespace, name), config.namespace, name)

    def _show(self, config: DpuClusterConfig, held: Held, kubeconfig: TenantKubeconfig | None) -> None:
        end = expiry(held, kubeconfig)
        if end is None:
            self._expiry.clear(config.namespace, config.name)
        else:
            self._expiry.set(end.timestamp(), config.namespace, config.name)

    def _outcome(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        owner: Owner,
        kubeconfig: TenantKubeconfig | None,
        held: Held,
    ) -> _Outcome:
        if kubeconfig is None or config.tenant_credential is CredentialChoice.PROVIDED:
            return _Outcome(NotAsked())
        tenant, namespace = config.tenant_cluster, config.tenant_namespace or self.installation.tenant_namespace
        try:
            reader.get(tenant, one(NAMESPACES, "", KUBE_SYSTEM), "", KUBE_SYSTEM)  # be woken when the tenant comes
            talk = _Talk(self._clients(tenant), self._build_tenant, self._memory, self._clock, kubeconfig, namespace)
            verdict = talk.review()
            side = None if verdict else _side(reader, tenant, namespace)
            trial = Trial.UNTRIED if isinstance(verdict, Unanswered) else talk.trial(held, side)
        except (NotEngaged, NotSynced) as err:
            return _Outcome(Unanswered("TenantNotRead", f"the tenant has not been read: {blindness(config, err)}"))
        if verdict is not None or side is None:
            return _Outcome(verdict or NotAsked(), trial)
        return _Outcome(talk.minting(held, trial, side, owner.hash), trial, side)


@dataclass(frozen=True, slots=True)
class _Outcome:
    finding: Finding
    trial: Trial = Trial.UNTRIED
    side: TenantSide | None = None


class _Talk:
    """What one pass asks one tenant. Threads: one.

    Guarantees: ends in bounded time, whatever the tenant does; of what it says, only codes are passed on.
    """

    def __init__(
        self,
        client: Client,
        build_tenant: BuildTenant,
        memory: _Memory,
        clock: Clock,
        kubeconfig: TenantKubeconfig,
        namespace: str,
    ) -> None:
        self._client = client
        self._build_tenant = build_tenant
        self._memory = memory
        self._clock = clock
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._about = (fingerprint(kubeconfig), namespace)
        self._deadline = clock.monotonic() + _TALK_SECONDS

    def review(self) -> Refused | Unanswered | None:
        """Whether the given kubeconfig has what minting takes; None: it has."""
        known = self._memory.get(self._client.name, "review", self._about)
        if known is None:
            try:
                known = self._lacking(self._client, rights_to_mint(self._namespace))
            except Forbidden:
                return Refused("MintingForbidden", "the given kubeconfig may not even ask what it may do")
            except ApiError as err:
                return _unanswered(err)
            self._memory.put(self._client.name, "review", self._about, known, TRY_SECONDS)
        if known:
            return Refused("MintingForbidden", f"the given kubeconfig may not {named(known)}")
        return None

    def trial(self, held: Held, side: TenantSide | None) -> Trial:
        """What the tenant says to the token that pods hold, now or a few minutes ago."""
        if not isinstance(held, Minted):
            return Trial.UNTRIED
        if side is not None and side.account_uid != held.account_uid:
            return Trial.REJECTED  # asked, the tenant might still say yes for some seconds
        about = (*self._about, held.token)
        known: Trial | None = self._memory.get(self._client.name, "trial", about)
        if known is not None:
            return known
        try:
            trial = self._try(held)
        except ApiError:
            return Trial.UNTRIED
        self._memory.put(self._client.name, "trial", about, trial, TRY_SECONDS)
        return trial

    def minting(self, held: Held, trial: Trial, side: TenantSide, owner_hash: str) -> Finding:
        """What is to be done about a minted token, with a new one if that is what it takes."""
        if stranger := side.stranger(owner_hash):
            return Refused("NotOurs", stranger)
        if not side.is_complete():
            refused: Refused | None = self._memory.get(self._client.name, _WRITES, "")
            return refused or Preparing()
        if isinstance(held, Minted) and not held.is_due(self._clock.now()) and trial is not Trial.REJECTED:
            silent = trial is Trial.UNTRIED
            return Unanswered("NotTried", "the tenant could not be asked about the token") if silent else Standing()
        about = (*self._about, side.account_uid, held if isinstance(held, Minted) else None)
        known: Fresh | Refused | None = self._memory.get(self._client.name, "minting", about)
        found = known or self._mint(side)
        if isinstance(found, Fresh) and known is None:
            # Our own write, until the cache shows it: a pass in between must not mint once more.
            self._memory.put(self._client.name, "minting", about, found, _REUSE_SECONDS)
            self._memory.put(
                self._client.name, "trial", (*self._about, found.minted.token), Trial.ACCEPTED, TRY_SECONDS
            )
        if isinstance(found, Refused) and known is None:
            self._memory.put(self._client.name, "minting", about, found, TRY_SECONDS)
        return found

    def _mint(self, side: TenantSide) -> Finding:
        try:
            minted = self._request(side.account_uid)
        except Forbidden:
            return Refused("MintingForbidden", f"the tenant gives no token of ServiceAccount {DPU_ACCOUNT}")
        except NotFound:
            return Preparing()
        except ApiError as err:
            return _unanswered(err)
        return minted if isinstance(minted, Unanswered) else self._judge(minted, side)

    def _request(self, account_uid: str) -> Minted | Unanswered:
        now, name = self._clock.now(), DPU_ACCOUNT
        return parse_minted(
            self._client.create_sub(
                SERVICEACCOUNTS, self._namespace, name, "token", TOKEN_REQUEST, timeout_seconds=self._left()
            ),
            now,
            account_uid,
        )

    def _judge(self, minted: Minted, side: TenantSide) -> Finding:
        try:
            trial = self._try(minted)
        except ApiError as err:
            return _unanswered(err)
        match trial:
            case Trial.ACCEPTED:
                return Fresh(minted)
            case Trial.POWERLESS:
                return Preparing() if side.is_fresh(self._clock.now()) else POWERLESS
            case Trial.REJECTED | Trial.UNTRIED:
                return Unanswered("TokenNotAccepted", "the tenant does not accept the token that it has just given")
        assert_never(trial)

    def _try(self, minted: Minted) -> Trial:
        """Ask with the token itself. Raises: ApiError, when nothing can be said."""
        candidate = self._build_tenant(self._client.name, as_dpu(self._kubeconfig, minted))
        try:
            self._introduce(candidate.client)
            return Trial.POWERLESS if self._lacking(candidate.client, RIGHTS_OF_PODS) else Trial.ACCEPTED
        except Unauthorized:
            return Trial.REJECTED
        finally:
            candidate.stop.set()

    def _introduce(self, client: Client) -> None:
        # Kubernetes before 1.28 does not have this review; whom it does not know it tells 401 all the same.
        with suppress(Forbidden, NotFound):
            client.create(SELFSUBJECTREVIEWS, "", WHO_AM_I, timeout_seconds=self._left())

    def _lacking(self, client: Client, rights: Sequence[Right]) -> tuple[Right, ...]:
        return tuple(right for right in rights if not is_allowed(self._ask(client, access_review(right))))

    def _ask(self, client: Client, review: Obj) -> Mapping[str, Any]:
        return client.create(SELFSUBJECTACCESSREVIEWS, "", review, timeout_seconds=self._left())

    def _left(self) -> float:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise Unreachable(0, "Timeout", f"the tenant has not answered everything in {_TALK_SECONDS:g} s")
        return min(left, _CALL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Known:
    about: object
    value: Any
    until: float


class _Memory:
    """The last answer to each question of each tenant, for a while. Threads: any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards _known
        self._known: dict[str, dict[str, _Known]] = {}

    def get(self, cluster: str, question: str, about: object) -> Any:
        """The answer, if it was given about the same thing and not too long ago; else None."""
        with self._guard:
            known = self._known.get(cluster, {}).get(question)
        if known is None or known.about != about or self._clock.monotonic() >= known.until:
            return None
        return known.value

    def put(self, cluster: str, question: str, about: object, value: object, seconds: float) -> None:
        """Remember an answer."""
        known = _Known(about, value, self._clock.monotonic() + seconds)
        with self._guard:
            self._known.setdefault(cluster, {})[question] = known

    def forget(self, cluster: str) -> None:
        """Drop all answers of a tenant."""
        with self._guard:
            self._known.pop(cluster, None)


def _side(reader: Reader, tenant: str, namespace: str) -> TenantSide:
    def get(resource: Resource, namespace: str) -> Obj | None:
        return reader.get(tenant, one(resource, namespace, DPU_ACCOUNT), namespace, DPU_ACCOUNT)

    return TenantSide(
        namespace, get(SERVICEACCOUNTS, namespace), get(ROLEBINDINGS, namespace), get(CLUSTERROLEBINDINGS, "")
    )


def _unanswered(err: ApiError) -> Unanswered:
    code = f"{err.code} " if err.code else ""
    return Unanswered("TenantUnanswered", f"the tenant does not answer: {code}{quoted(err.reason)}")


def _expiry_gauge(metrics: Metrics) -> GaugeMetrics:
    return metrics.gauge(
        "dpunetop_tenant_credential_expiry_timestamp_seconds",
        "Until when the credential of the DPU pods is good, where that is known.",
        "namespace",
        "name",
    )
