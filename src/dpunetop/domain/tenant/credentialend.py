"""The end of a kubeconfig's validity, as far as it shows one, and when a person is warned of it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.domain.tenant.pem import BadPem, certificates

WARN_BEFORE = timedelta(days=7)
_LARGEST_CLAIMS = 16 << 10
_LOOK_AGAIN = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class End:
    """When a credential ends."""

    at: datetime
    begin: datetime | None = None
    """From when on it is valid; None: it does not say."""
    of: str = ""
    """Which part ends, as the kubeconfig names it; empty: the credential itself."""

    @property
    def warn_from(self) -> datetime:
        """From when on its end is near: seven days before, or a third of its life if that is shorter."""
        return self.at - (WARN_BEFORE if self.begin is None else min(WARN_BEFORE, (self.at - self.begin) / 3))

    def early(self, now: datetime) -> str:
        """The words about a credential that is not valid yet by this clock; empty: it is."""
        if self.begin is None or now >= self.begin:
            return ""
        return f"is valid only from {_spelled(self.begin)} on; compare the clocks of both sides, or wait"

    @property
    def text(self) -> str:
        """The end as messages show it."""
        return _spelled(self.at) + (f" ({self.of})" if self.of else "")

    def pause(self, now: datetime) -> float | None:
        """Seconds until time alone changes the verdict; None: it does not change any more."""
        coming = [moment - now for moment in (self.warn_from, self.at) if moment > now]
        return min(min(coming), _LOOK_AGAIN).total_seconds() + 1.0 if coming else None


def _spelled(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def why_refused(what: str, end: End | None, now: datetime) -> str:
    """Why a server may not accept a credential that a person knows as `what`, as far as it says itself."""
    if end is None:
        return f"{what} was revoked, or the server does not know it"
    if end.at <= now:
        return f"{what} ended on {end.text}"
    if early := end.early(now):
        return f"{what} {early}"
    return f"{what} is good until {end.text}, so it was revoked, or is another cluster's"


def end_of(kubeconfig: TenantKubeconfig | None) -> End | None:
    """When a kubeconfig stops working: the earliest end of its client certificate, of its token if that is a JWT, and
    of the CA for the server. None: it does not say. The token is not verified here; its own server verifies it when it
    is used."""
    if kubeconfig is None:
        return None
    own, trust = end_of_own(kubeconfig), end_of_authority(kubeconfig.ca_pem)
    if own is None and trust is not None:
        return replace(trust, of=f"{trust.of}; it does not say until when its credential is good")
    return min((end for end in (own, trust) if end is not None), key=lambda end: end.at, default=None)


def end_of_own(kubeconfig: TenantKubeconfig) -> End | None:
    """When the client certificate or the token of a kubeconfig ends; None: it does not say."""
    if kubeconfig.token is not None:
        return end_of_token(kubeconfig.token)
    return None if kubeconfig.client_cert_pem is None else end_of_certificate(kubeconfig.client_cert_pem)


def end_of_authority(pem: str) -> End | None:
    """When the last of these CAs expires; None: they cannot be read."""
    try:
        return End(certificates(pem.encode()).trusted_until, of="certificate-authority-data")
    except BadPem:
        return None


def end_of_certificate(pem: str) -> End | None:
    """When the first of these certificates expires; None: they cannot be read."""
    try:
        found = certificates(pem.encode())
        return End(found.not_after, found.not_before)
    except BadPem:
        return None


def end_of_token(token: Sensitive) -> End | None:
    """When a token ends, if it is a JWT that says so."""
    parts = token.reveal().split(".")
    if len(parts) != 3 or len(parts[1]) > _LARGEST_CLAIMS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return _end(claims) if isinstance(claims, dict) else None
    except (binascii.Error, ValueError, OverflowError, OSError, RecursionError):
        return None


def _end(claims: dict[str, object]) -> End | None:
    """A server refuses a token before its `nbf`, and before its `iat`: RFC 7519, and go-jose, which Kubernetes uses."""
    at = _moment(claims.get("exp"))
    begins = [begin for name in ("iat", "nbf") if (begin := _moment(claims.get(name))) is not None]
    if at is None:
        return None
    begin = max(begins, default=None)
    return End(at, None if begin is None or begin >= at else begin)


def _moment(claim: object) -> datetime | None:
    """A time in seconds of the epoch. Raises: ValueError, OverflowError or OSError for one that no calendar has."""
    return datetime.fromtimestamp(claim, UTC) if isinstance(claim, int) and not isinstance(claim, bool) else None
