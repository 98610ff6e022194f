"""The link to a tenant: which kubeconfig is used, which cluster is accepted behind it, and what its conditions
report."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.status import CREDENTIAL_EXPIRES_SOON, SERVING_CERTIFICATE_EXPIRES_SOON, report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, Proven
from dpunetop.domain.names import ACCEPT_TENANT_ANNOTATION, SAME_TENANT_ANNOTATION, TENANT_KUBECONFIG
from dpunetop.domain.names import TENANT_CREDENTIAL_KEY as KEY
from dpunetop.domain.reasons import CREDENTIALS_VALID, TENANT_REACHABLE
from dpunetop.domain.tenant import servingcertificate
from dpunetop.domain.tenant.credentialend import End, end_of, end_of_own, why_refused
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig, parse_secret
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, TenantKubeconfig, fingerprint, render_kubeconfig
from dpunetop.domain.tenant.pem import BadPem, certificates
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import INFRA, SECRETS
from dpunetop.kube.meta import Obj, is_terminating, new_object
from dpunetop.kube.plan import Apply, Ownership, Plan, Step
from dpunetop.kube.validity import Validity

_UID = re.compile(r"[A-Za-z0-9-]{1,64}")
ANSWERED = "Answered"
"""Reason of TenantReachable: the tenant is there, and refuses the credential."""
TENANT_IS_INFRA, TENANT_SWAPPED = "TenantIsInfra", "TenantSwapped"
ANOTHER_CLUSTER = frozenset({TENANT_IS_INFRA, TENANT_SWAPPED})
"""Reasons for a cluster that answers under the tenant's kubeconfig and must not be used."""
_SHOWN = 5
_UNAUTHORIZED = "Unauthorized"
_RETRY_UNANSWERED_SECONDS = 3.0
_RETRY_DENIED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class KubeconfigChoice:
    """The kubeconfig to use, and the problem of the one that was given.

    Both None: the DpuClusterConfig asks for no tenant. `problem` beside a kubeconfig: an earlier one is still used.
    """

    kubeconfig: TenantKubeconfig | None
    problem: Condition | None


@dataclass(frozen=True, slots=True)
class Linked:
    """The tenant is engaged. `silent` says why it does not answer now; None: it does."""

    tenant_uid: str
    silent: str | None
    root: str = ""
    """See `root_print`."""
    fingerprint: str = ""
    """Of the kubeconfig with which it was verified."""
    serving: Validity | None = None
    """Of the certificate that its API server shows; None: not known."""


@dataclass(frozen=True, slots=True)
class TenantUnanswered:
    """The tenant behind the kubeconfig could not be asked who it is."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TenantDenied:
    """The tenant answered, and refused the credential or a right that it needs."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WrongCluster:
    """The tenant answered, and is a cluster that must not be used."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Unlinked:
    """There is no kubeconfig to try."""


Attempt = Linked | TenantUnanswered | TenantDenied | WrongCluster | Unlinked


@dataclass(frozen=True, slots=True)
class LinkView:
    """All that the decision looks at. `attempt` is the result of the chosen kubeconfig, `kept` an older link that stays
    in use because the chosen one failed. `stored` is our own Secret with the last kubeconfig that worked."""

    config: DpuClusterConfig
    owner: Owner
    choice: KubeconfigChoice
    attempt: Attempt
    kept: Linked | None
    stored: Obj | None
    field_manager: str
    now: datetime
    strangers: tuple[str, ...] = ()
    """Other DpuClusterConfigs whose cluster gives the same UID and does not count as the same tenant."""
    address_trouble: str = ""
    """Why the address of the tenant in use is not good; empty: it is."""
    proven: Proven | None = None
    """Where the tenant in use has proved its identity; None: no more is known than the status says."""
    infra_uid: str = ""
    """UID of infra's `kube-system`."""


NO_LINK = TenantUnanswered(
    "Unreachable",
    "no verified TLS connection to the server of the kubeconfig could be made; the log "
    "of the operator says why, and so does this once --tenant-allowed-cidrs names its addresses",
)
"""The message about a failed connection to an unknown server: it says that it failed, and no more."""
_TELLING = frozenset({"Refused", "Timeout", "TLS", "Reset", "BadAnswer", "TooLarge"})
"""Reasons of `Unreachable` that reveal what is at an address."""


def told(failure: TenantUnanswered, may_tell: bool) -> TenantUnanswered:
    """A failed connection, without the details that a namespace user may not see."""
    return failure if may_tell or failure.reason not in _TELLING else NO_LINK


def root_print(anchor_pem: bytes) -> str:
    """Identity of a CA: hash of the public key of the certificate that verified a handshake.

    A server can claim any UID; this it had to prove. Empty: it cannot be read.
    """
    try:
        return hashlib.sha256(certificates(anchor_pem).leaf_public_key).hexdigest()
    except BadPem:
        return ""


def choose(config: DpuClusterConfig, given: Obj | None, stored: Obj | None, owner: Owner) -> KubeconfigChoice:
    """Pick the kubeconfig to reach the tenant with: the given one, else the last that worked."""
    if config.kubeconfig_secret is None:
        return KubeconfigChoice(None, None)
    try:
        if given is None:
            problem = _invalid(
                "SecretNotFound", f"Secret {config.kubeconfig_secret} does not exist; create it with the key config"
            )
        else:
            return KubeconfigChoice(parse_secret(given), None)
    except KubeconfigRejected as err:
        problem = _invalid("InvalidKubeconfig", f"Secret {config.kubeconfig_secret}: {err.message} ({err.reason})")
    kept = last_good(stored, owner)
    if kept is not None:
        problem = _invalid(problem.reason, f"{problem.message}. The last good one stays in use")
    return KubeconfigChoice(kept, problem)


def identity_problem(config: DpuClusterConfig, infra_uid: str, uid: str) -> WrongCluster | None:
    """Why the cluster whose `kube-system` has this UID must not be this tenant, or None."""
    if _UID.fullmatch(uid) is None:  # the UID is shown, and compared with what a person writes
        return WrongCluster("BadAnswer", "the tenant returns an invalid UID for its namespace kube-system")
    if uid == infra_uid:
        return WrongCluster(TENANT_IS_INFRA, "the kubeconfig leads to the infra cluster itself; give the tenant's")
    if config.tenant_uid in (None, uid) or config.annotations.get(ACCEPT_TENANT_ANNOTATION) == uid:
        return None
    return WrongCluster(
        TENANT_SWAPPED,
        f"the kubeconfig leads to cluster {uid}, not to {config.tenant_uid} as before; nothing of it is used. "
        f"If that is meant, annotate {ACCEPT_TENANT_ANNOTATION}={uid}",
    )


def plan_link(view: LinkView) -> Plan:
    """Keep the last kubeconfig that worked, and report the state of the link."""
    if view.config.kubeconfig_secret is None:
        return Plan(report(view.config.live, (), view.field_manager))
    steps = _good_kubeconfig(view)
    uid = view.attempt.tenant_uid if isinstance(view.attempt, Linked) else view.config.tenant_uid
    root = view.attempt.root if isinstance(view.attempt, Linked) else view.config.tenant_root
    said = (("tenantUID", uid), ("tenantRoot", root))
    members: dict[str, Any] = {name: text for name, text in said if text} | _remembered(view)
    conditions = (_credentials(view), _reachable(view))
    return Plan((*steps, *report(view.config.live, conditions, view.field_manager, **members)), _retry(view))


def _remembered(view: LinkView) -> dict[str, Any]:
    """Kept for the next process: only the operator and infra's administrators write the status."""
    proven = view.proven or view.config.proven
    return {} if proven is None else {"tenantServer": proven.server, "tenantAddresses": list(proven.addresses)}


def _retry(view: LinkView) -> float | None:
    match view.attempt:
        case TenantUnanswered():
            return _RETRY_UNANSWERED_SECONDS
        case TenantDenied() | WrongCluster():
            return _RETRY_DENIED_SECONDS
        case Linked():
            return _until_an_end(view)
        case Unlinked():
            return None
    assert_never(view.attempt)


def _until_an_end(view: LinkView) -> float | None:
    """Seconds until time alone changes what is said of the kubeconfig, or of the server's certificate."""
    end, linked = end_of(view.choice.kubeconfig), view.kept or view.attempt
    pauses = (
        None if end is None else end.pause(view.now),
        servingcertificate.pause(linked.serving, view.now) if isinstance(linked, Linked) else None,
    )
    return min((seconds for seconds in pauses if seconds is not None), default=None)


def _credentials(view: LinkView) -> Condition:
    if view.choice.problem is not None:
        return view.choice.problem
    match view.attempt:
        case Linked():
            return _verified(view)
        case TenantUnanswered(reason, message):
            words = f"the tenant did not answer, so that the kubeconfig of {_secret(view)} is not verified"
            return Condition(
                CREDENTIALS_VALID, "Unknown", "NotVerified", f"{words}: {reason}: {message}{_what_stays(view)}"
            )
        case TenantDenied():
            return _denied(view, view.attempt)
        case WrongCluster(reason, message):
            return _invalid(reason, f"{_secret(view)}: {message}{_what_stays(view)}")
        case Unlinked():
            return Condition(CREDENTIALS_VALID, "Unknown", "NotVerified", "there is no kubeconfig")
    assert_never(view.attempt)


def _denied(view: LinkView, denied: TenantDenied) -> Condition:
    """The refusal, and why, as far as the kubeconfig says itself."""
    kubeconfig, whose = view.choice.kubeconfig, f"the tenant refuses the kubeconfig of {_secret(view)}"
    said = denied.reason if denied.message in ("", denied.reason) else f"{denied.reason}: {denied.message}"
    if denied.reason != _UNAUTHORIZED or kubeconfig is None:
        return _invalid(denied.reason, f"{whose}: {said}; put a good one into it{_what_stays(view)}")
    end = end_of_own(kubeconfig)
    why = why_refused("its client certificate" if kubeconfig.token is None else "its token", end, view.now)
    is_ended = end is not None and end.at <= view.now
    reason = "Expired" if is_ended else denied.reason
    return _invalid(reason, f"{whose}: {said}: {why}; put a good one into it{_what_stays(view)}")


def _secret(view: LinkView) -> str:
    return f"Secret {view.config.kubeconfig_secret}"


def _what_stays(view: LinkView) -> str:
    """Whether the link that stays in use has another kubeconfig than the chosen one."""
    kubeconfig = view.choice.kubeconfig
    if view.kept is None or kubeconfig is None or view.kept.fingerprint == fingerprint(kubeconfig):
        return ""
    return ". The last good one stays in use"


def _verified(view: LinkView) -> Condition:
    """The kubeconfig works now; the message says until when, if it is known."""
    end, whose = end_of(view.choice.kubeconfig), f"the kubeconfig of {_secret(view)}"
    if end is None:
        return Condition(CREDENTIALS_VALID, "True", "Verified", f"{whose} is accepted; it does not say until when")
    if view.now >= end.at:
        return _overdue(view, end)
    if view.now >= end.warn_from:
        words = f"{whose} ends soon, at {end.text}; put a new one into it before"
        return Condition(CREDENTIALS_VALID, "True", CREDENTIAL_EXPIRES_SOON, words)
    return Condition(CREDENTIALS_VALID, "True", "Verified", f"{whose} is good until {end.text}")


def _overdue(view: LinkView, end: End) -> Condition:
    """By the operator's clock it has ended. A tenant that still answers knows better; it is asked every few seconds."""
    whose, linked = f"the kubeconfig of {_secret(view)}", view.attempt
    if end.of or not isinstance(linked, Linked) or linked.silent is not None:
        return _invalid("Expired", f"{whose} ended at {end.text}; put a new one into it")
    words = (
        f"{whose} ended at {end.text} by the operator's clock, and the tenant still accepts it; put a new one into it"
    )
    return Condition(
        CREDENTIALS_VALID, "True", CREDENTIAL_EXPIRES_SOON, f"{words}, and compare the clocks of both sides"
    )


def _reachable(view: LinkView) -> Condition:
    match view.kept or view.attempt:
        case Linked(_, None) as linked:
            return _answering(view, servingcertificate.warning(linked.serving, view.now))
        case Linked(_, str(silent)):
            return Condition(TENANT_REACHABLE, "False", "Unreachable", f"{silent}; what runs is kept as it is")
        case TenantUnanswered(reason, message):
            return Condition(TENANT_REACHABLE, "False", reason, message)
        case TenantDenied(_, message):
            words = f"the tenant answers, and refuses the kubeconfig: {message}; see {CREDENTIALS_VALID}"
            return Condition(TENANT_REACHABLE, "True", ANSWERED, words)
        case WrongCluster(reason, message):
            return Condition(TENANT_REACHABLE, "Unknown", reason, message)
        case _:
            return Condition(TENANT_REACHABLE, "Unknown", "NoCredentials", "there is no kubeconfig that could be tried")


def _answering(view: LinkView, ending: str) -> Condition:
    """The tenant answers. `ending` is the warning about the end of its certificate; empty: none."""
    warned = ((view.address_trouble, "AddressRefused"), (ending, SERVING_CERTIFICATE_EXPIRES_SOON))
    reason = next((reason for words, reason in warned if words), "Reachable")
    words = "; ".join(filter(None, (view.address_trouble, ending, _strangers(view))))
    return Condition(TENANT_REACHABLE, "True", reason, words)


def _strangers(view: LinkView) -> str:
    if not view.strangers:
        return ""
    others = ", ".join(view.strangers[:_SHOWN]) + (" ..." if len(view.strangers) > _SHOWN else "")
    return (
        f"the cluster of DpuClusterConfig {others} gives the same UID behind another authority, and so does not count "
        f"as the same tenant; if it is, a cluster administrator annotates the namespaces {SAME_TENANT_ANNOTATION}=<UID>"
    )


def _good_kubeconfig(view: LinkView) -> tuple[Step, ...]:
    """Our rebuilt copy of the kubeconfig: the pods' credential is made from it, and it serves when the given one goes
    bad. During teardown it is not written."""
    stored = view.stored
    verified = isinstance(view.attempt, Linked) and view.choice.problem is None
    writable = view.owner.owns(stored) and not (stored is not None and is_terminating(stored))
    if not verified or not writable or view.choice.kubeconfig is None or view.config.terminating:
        return ()
    desired = view.owner.mark(new_object(SECRETS, view.config.namespace, TENANT_KUBECONFIG, type="Opaque"))
    desired["data"] = {KEY: base64.b64encode(render_kubeconfig(view.choice.kubeconfig)).decode()}
    return (Apply(INFRA, SECRETS, desired, stored, view.field_manager, ownership=Ownership.WHOLE),)


def last_good(stored: Obj | None, owner: Owner) -> TenantKubeconfig | None:
    """The kubeconfig that worked last, from our Secret; None without one, or where the Secret is not ours."""
    if stored is None or not owner.owns(stored):
        return None
    try:
        return parse_kubeconfig(base64.b64decode((stored.get("data") or {}).get(KEY, ""), validate=True))
    except (KubeconfigRejected, binascii.Error):
        return None


def _invalid(reason: str, message: str) -> Condition:
    return Condition(CREDENTIALS_VALID, "False", reason, message)
