"""A token as it will be after a while: the same claims, their times moved into the past, signed with the same key.

What a server says to it now is what it will say to the original then, since it compares a token's times with its clock
and with nothing else. The other way, a server whose clock runs ahead, takes a program that can be lied to about the
time: kube-apiserver is linked statically and asks the kernel, which has one clock for all.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_TIMES = ("iat", "nbf", "exp")


def claims(token: str) -> dict[str, Any]:
    """What a token says of itself."""
    return dict(json.loads(_decoded(token.split(".")[1])))


def aged(token: str, signing_key: bytes, by: timedelta) -> str:
    """The token, older by that much. Raises: InvalidSignature, if that is not the key that signed it."""
    head, body, signature = token.split(".")
    key = serialization.load_pem_private_key(signing_key, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    key.public_key().verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    moved = {
        name: value - int(by.total_seconds()) if name in _TIMES else value for name, value in claims(token).items()
    }
    text = f"{head}.{_encoded(json.dumps(moved).encode())}"
    return f"{text}.{_encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
