"""Kubeconfigs of tenants, with real certificates behind them."""

from __future__ import annotations

import base64
import json
from typing import Any

import trustme


def good_kubeconfig(server: str = "https://tenant.example:6443", **user: Any) -> bytes:
    """A kubeconfig that the policy takes; with a token unless `user` gives something else."""
    ca = base64.b64encode(trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        "users": [{"name": "u", "user": user or {"token": "token-of-a-test"}}],
    }
    return json.dumps(document).encode()
