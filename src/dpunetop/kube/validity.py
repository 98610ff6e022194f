"""How long the certificate of an API server is valid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid, UTC."""

    begin: datetime
    end: datetime
