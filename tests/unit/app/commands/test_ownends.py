"""`status` tells of what the operator itself works with in infra, and when that ends."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dpunetop.app.commands import status
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.output import Format
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import DEPLOYMENTS, SECRETS
from support.looks import see, serving, status_of
from support.pki import pair
from support.scripteddrain import OPERATOR, World

SERVING = f"Secret {OPERATOR}/dpunetop-metrics, of /metrics"


def installed(days: int | None, **spec: Any) -> World:
    """An operator whose metrics are served with a certificate that ends in so many days; None: there is none."""
    world = serving()
    container: dict[str, Any] = {"name": "dpunetop", "args": ["run", "--metrics-cert-path=/certs"]}
    container["volumeMounts"] = [{"name": "certs", "mountPath": "/certs"}]
    volumes = [{"name": "certs", "secret": {"secretName": "dpunetop-metrics"}}]
    template = {"spec": {"containers": [container], "volumes": volumes, **spec}}
    metadata = {"name": "dpunetop", "namespace": OPERATOR}
    world.infra.put(DEPLOYMENTS, {"metadata": metadata, "spec": {"template": template}})
    if days is not None:
        data = {"tls.crt": base64.b64encode(pair("metrics", days).cert).decode()}
        world.infra.put(SECRETS, {"metadata": {"name": "dpunetop-metrics", "namespace": OPERATOR}, "data": data})
    return world


def own(said: str) -> list[str]:
    return [line.removeprefix("the operator's own: ") for line in said.splitlines() if "operator's own" in line]


@pytest.mark.parametrize(
    ("days", "age", "words", "code"),
    [
        (3, 2, "its certificate ends on 2026-01-04T00:00:00Z", Exit.GOOD),
        (3, 4, "its certificate ended on 2026-01-04T00:00:00Z", Exit.WRONG),
    ],
)
def test_a_certificate_of_the_metrics_that_ends_is_told_with_its_secret_and_the_mend(
    days: int, age: int, words: str, code: Exit
) -> None:
    world = installed(days)
    world.clock.step(age * 86400.0)
    said, found = status_of(world)
    (line,) = own(said)
    assert line.startswith(f"{SERVING}: {words}")
    assert f"kubectl delete secret dpunetop-metrics --namespace {OPERATOR}" in line
    assert found is code


@pytest.mark.parametrize("days", [365, None])
def test_what_does_not_end_soon_is_told_only_where_all_is_asked_for(days: int | None) -> None:
    world = installed(days)
    said, code = status_of(world)
    assert own(said) == []
    assert code is Exit.GOOD
    wide = own(status_of(world, form=Format.WIDE)[0])
    assert [line.split(",")[0].split(":")[0] for line in wide] == [
        f"credential of Deployment {OPERATOR}/dpunetop",
        f"Secret {OPERATOR}/dpunetop-metrics",
    ]
    (document, _) = status.as_document(see(world), world.clock.now())["operator"]["own"]
    assert document["verdict"] == "ok"


def test_an_operator_whose_pods_mount_no_token_is_told() -> None:
    said, code = status_of(installed(365, automountServiceAccountToken=False))
    (line,) = own(said)
    assert "its pods mount no token of a ServiceAccount" in line
    assert code is Exit.WRONG


def test_a_certificate_that_may_not_be_read_changes_nothing_and_is_never_told_as_good() -> None:
    world = installed(3)
    world.infra.refuses["list secrets"] = Forbidden(403, "Forbidden", "you may not list secrets")
    said, code = status_of(world)
    assert own(said) == []
    assert code is Exit.GOOD
    wide = own(status_of(world, form=Format.WIDE)[0])
    assert any("you may not list secrets" in line for line in wide)
