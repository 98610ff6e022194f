"""What is given in confidence: used, and shown nowhere; and what was not given is not asked for."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.errors import Invalid
from dpunetop.kube.keys import SECRETS
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support.audit import of_operator
from support.trial import OUR_OBJECTS, Trial, encoded

pytestmark = pytest.mark.timeout(600)

UNKNOWN_TOKEN = "canary.token-that.nobody-knows"
FOREIGN = [
    "../x",
    "..",
    "kube-system/bootstrap-token",
    "secrets/x",
    "x/../../y",
    "%2e%2e/x",
    "x,metadata.namespace=kube-system",
    "x\ny",
    "*",
    "X",
    " x",
    "-x",
    "x" * 254,
]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_secret_that_is_not_a_name_in_the_same_namespace_is_refused(trial: Trial, name: str) -> None:
    with pytest.raises(Invalid, match="kubeConfigFile"):
        trial.create_config(kubeConfigFile=name)
    trial.create_config()
    with pytest.raises(Invalid, match="kubeConfigFile"):
        trial.patch_config({"spec": {"kubeConfigFile": name}})


def test_no_secret_is_asked_for_but_those_that_are_ours_or_named(new_trial: Callable[..., Trial], world: World) -> None:
    trial, bystander = new_trial(), new_trial()
    bystander.store_kubeconfig()
    audit = of_operator(world.infra)
    trial.ready()
    asked = [each for each in audit.requests() if each.resource == "secrets"]
    allowed = {trial.names.secret, names.TENANT_CREDENTIAL, names.TENANT_KUBECONFIG, names.OVN_CERT}
    mine = {each.place for each in asked if each.place.startswith(f"{trial.namespace}/")}
    assert mine
    assert mine <= {f"{trial.namespace}/{name}" for name in allowed}
    assert not [each for each in asked if each.place.split("/")[0] == bystander.namespace]
    assert not [each for each in asked if "/" not in each.place]


def test_credentials_show_in_no_log_event_status_metric_or_process(
    new_trial: Callable[..., Trial], world: World, operator: OperatorProcess
) -> None:
    by_token, by_certificate, refused, garbled = trials = [new_trial() for _ in range(4)]
    token = by_token.token()
    certificate = world.tenant.certificate_kubeconfig("canary", ["system:masters"])
    by_token.store_kubeconfig(by_token.kubeconfig(token=token))
    by_certificate.store_kubeconfig(certificate)
    refused.store_kubeconfig(refused.kubeconfig(token=UNKNOWN_TOKEN))
    garbled.store_secret({names.KUBECONFIG_KEY: encoded(f"users: [{{user: {{token: canary {token}}}}}]")})
    for trial in trials:
        trial.store_overrides()
        trial.create_config()
    for trial in (by_token, by_certificate):
        trial.wait("Ready", "True")
    refused.wait("CredentialsValid", "False", "Unauthorized")
    garbled.wait("CredentialsValid", "False", "InvalidKubeconfig")
    secrets = {token, token.split(".")[2], UNKNOWN_TOKEN, *_spellings(_key(certificate)), *_copied(by_token)}
    for place, text in _shown(operator, *trials):
        assert not [secret for secret in secrets if secret in text], place


def _key(kubeconfig: Any) -> str:
    """The private key of a kubeconfig, PEM."""
    return base64.b64decode(kubeconfig["users"][0]["user"]["client-key-data"]).decode()


def _copied(trial: Trial) -> Iterator[str]:
    """Pieces of the private key that was copied from the tenant."""
    return _spellings(base64.b64decode(trial.get(SECRETS, names.OVN_CERT)["data"]["tls.key"]).decode())


def _spellings(pem: str) -> Iterator[str]:
    """Lines of a private key, as they are and within another base64."""
    lines = [line for line in pem.splitlines() if len(line) > 40 and "-----" not in line]
    assert lines
    yield from lines
    yield base64.b64encode(pem.encode()).decode()[60:120]


def _shown(operator: OperatorProcess, *trials: Trial) -> Iterator[tuple[str, str]]:
    """Everything that may be read by somebody who may read no Secret."""
    yield "log", operator.log_text()
    with urllib.request.urlopen(f"{operator.metrics_url}/metrics", timeout=60) as answer:
        yield "metrics", answer.read().decode()
    for file in ("cmdline", "environ", "comm"):
        yield file, Path(f"/proc/{operator.pid}/{file}").read_bytes().decode(errors="replace")
    for trial in trials:
        yield "config", repr(trial.config())
        yield "events", repr(trial.events())
        yield "pods", repr(trial.pods())
        for resource, name in (pair for pair in OUR_OBJECTS if pair[0] is not SECRETS):
            yield f"{resource.plural}/{name}", repr(trial.get(resource, name))
