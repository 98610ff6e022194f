from __future__ import annotations

import base64
import dataclasses
import json

import pytest

from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import (
    TenantKubeconfig,
    fingerprint,
    render_kubeconfig,
    render_with_token_aside,
    render_with_token_file,
    server_print,
)
from support.pki import pair

CANARY = "canary-secret-0123456789"
BASE = TenantKubeconfig("api.tenant.example", 6443, "", pair("ca").cert.decode(), token=Sensitive(CANARY))


def with_pair() -> TenantKubeconfig:
    """A model with a client certificate, and no token."""
    members = json.loads(render_kubeconfig(BASE))
    user = members["users"][0]["user"]
    user.pop("token")
    user["client-certificate-data"] = b64(pair("u").cert)
    user["client-key-data"] = b64(pair("u").key)
    return parse_kubeconfig(json.dumps(members).encode())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("model", [BASE, with_pair()], ids=["token", "pair"])
def test_what_is_rendered_is_canonical_and_parses_to_the_same_model(model: TenantKubeconfig) -> None:
    rendered = render_kubeconfig(model)
    assert parse_kubeconfig(rendered) == model
    assert render_kubeconfig(parse_kubeconfig(rendered)) == rendered
    assert json.dumps(json.loads(rendered), sort_keys=True, separators=(",", ":")).encode() == rendered


def test_a_token_in_a_file_is_not_in_the_text() -> None:
    aside = render_with_token_aside(BASE, "/token")
    assert aside == render_with_token_file(BASE, "/token")
    assert CANARY not in aside.decode()
    assert render_with_token_aside(with_pair(), "/token") == render_kubeconfig(with_pair())


def test_the_fingerprint_tells_a_new_token_from_a_new_layout() -> None:
    layout = json.loads(render_kubeconfig(BASE))
    layout["contexts"][0]["context"]["namespace"] = "elsewhere"
    assert fingerprint(parse_kubeconfig(json.dumps(layout, indent=1).encode())) == fingerprint(BASE)
    assert fingerprint(dataclasses.replace(BASE, token=Sensitive("other"))) != fingerprint(BASE)


def test_a_server_is_identified_by_its_url_and_the_ca_that_it_has_to_prove() -> None:
    assert server_print(dataclasses.replace(BASE, token=Sensitive("other"))) == server_print(BASE)
    others = (
        dataclasses.replace(BASE, host="elsewhere"),
        dataclasses.replace(BASE, ca_pem="another"),
        dataclasses.replace(BASE, tls_server_name="another"),
    )
    for other in others:
        assert server_print(other) != server_print(BASE)
