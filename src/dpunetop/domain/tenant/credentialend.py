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
    """When a credential ends; `life` is its whole lifetime, None where it does not say when it began."""

    at: datetime
    life: timedelta | None = None
    of: str = ""
    """Which part ends, as the kubeconfig names it; empty: the credential itself."""

    @property
    def warn_from(self) -> datetime:
        """From when on its end is near: seven days before, or a third of its life if that is shorter."""
        return self.at - (WARN_BEFORE if self.life is None else min(WARN_BEFORE, self.life / 3))

    @property
    def text(self) -> str:
        """The end as messages show it."""
        return self.at.isoformat().replace("+00:00", "Z") + (f" ({self.of})" if self.of else "")

    def pause(self, now: datetime) -> float | None:
        """Seconds until time alone changes the verdict; None: it does not change any more."""
        coming = [moment - now for moment in (self.warn_from, self.at) if moment > now]
        return min(min(coming), _LOOK_AGAIN).total_seconds() + 1.0 if coming else None


def end_of(kubeconfig: TenantKubeconfig | None) -> End | None:
    """When a kubeconfig stops working: the earliest end of its client certificate, of its token if that is a JWT, and
    of the CA for the server. None: it does not say. The token is not verified here; its own server verifies it when it
    is used."""
    if kubeconfig is None:
        return None
    own, trust = _end_of_credential(kubeconfig), end_of_authority(kubeconfig.ca_pem)
    if own is None and trust is not None:
        return replace(trust, of=f"{trust.of}; it does not say until when its credential is good")
    return min((end for end in (own, trust) if end is not None), key=lambda end: end.at, default=None)


def _end_of_credential(kubeconfig: TenantKubeconfig) -> End | None:
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
        return End(certificates(pem.encode()).not_after)
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
    ends, begins = claims.get("exp"), claims.get("iat")
    if not isinstance(ends, int) or isinstance(ends, bool):
        return None
    at = datetime.fromtimestamp(ends, UTC)
    if not isinstance(begins, int) or isinstance(begins, bool) or begins >= ends:
        return End(at)
    return End(at, at - datetime.fromtimestamp(begins, UTC))
