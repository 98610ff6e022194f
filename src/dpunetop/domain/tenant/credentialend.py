"""Until when a kubeconfig is good, as far as it says so itself, and from when on a person is to be warned."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig
from dpunetop.domain.tenant.pem import BadPem, certificates

WARN_BEFORE = timedelta(days=7)
_LARGEST_CLAIMS = 16 << 10
_LOOK_AGAIN = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class End:
    """When a credential ends; `life` is how long it lives in all, None where it does not say since when."""

    at: datetime
    life: timedelta | None = None

    @property
    def warn_from(self) -> datetime:
        """From when on its end is near: seven days before, or a third of its life if that is shorter."""
        return self.at - (WARN_BEFORE if self.life is None else min(WARN_BEFORE, self.life / 3))

    @property
    def text(self) -> str:
        """As people read it."""
        return self.at.isoformat().replace("+00:00", "Z")

    def pause(self, now: datetime) -> float | None:
        """In how many seconds to look again because of time alone; None: nothing more comes."""
        coming = [moment - now for moment in (self.warn_from, self.at) if moment > now]
        return min(min(coming), _LOOK_AGAIN).total_seconds() + 1.0 if coming else None


def end_of(kubeconfig: TenantKubeconfig | None) -> End | None:
    """When the credential of a kubeconfig ends: its client certificate, or its token if that is a JWT. None: it does
    not say. The token is not verified: only its own server can tell whether it is true, and does when it is used."""
    if kubeconfig is None:
        return None
    if kubeconfig.token is not None:
        return end_of_token(kubeconfig.token)
    return None if kubeconfig.client_cert_pem is None else end_of_certificate(kubeconfig.client_cert_pem)


def end_of_certificate(pem: str) -> End | None:
    """When the first of these certificates ends; None: they cannot be read."""
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
