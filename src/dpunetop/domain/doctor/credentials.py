"""Checks of every credential: the kubeconfigs that people store, what the pods of DPUs hold, the operator's own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from dpunetop.domain.credential.account import parse_time
from dpunetop.domain.doctor.cluster import INSTALL, OPERATOR_DEPLOYMENT, config_name, configs_of
from dpunetop.domain.doctor.model import Diagnosis, Facts, NotLookedAt, Unseen, annotation, each, fail, ok, warn
from dpunetop.domain.names import EXPIRES_AT_ANNOTATION, TENANT_CREDENTIAL, TENANT_CREDENTIAL_KEY, TENANT_KUBECONFIG
from dpunetop.domain.tenant.credentialend import End, end_of
from dpunetop.domain.tenant.kubeconfig import KubeconfigRejected, parse_kubeconfig, parse_secret
from dpunetop.kube.keys import DEPLOYMENTS, SECRETS
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.shapes import at, mappings

RENEW = "python -m dpunetop tenant-kubeconfig --tenant-kubeconfig TENANT-ADMIN --file tenant.kubeconfig"
_MINTED_WARNING = timedelta(days=1)


def judge_kubeconfigs(facts: Facts) -> Iterable[Diagnosis]:
    """The kubeconfig of each tenant is there, is taken, and does not end soon."""
    return each(configs_of(facts), lambda config: _given(facts, config))


def _given(facts: Facts, config: Obj) -> Iterator[Diagnosis]:
    name, home = at(config, "spec", "kubeConfigFile"), namespace_of(config)
    if not isinstance(name, str) or not name:
        yield ok(config_name(config), "asks for no tenant: only hosts are configured")
        return
    about = f"Secret {home}/{name}"
    secret = facts.infra.get(SECRETS, home, name)
    store = f"kubectl create secret generic {name} --from-file=config=tenant.kubeconfig --namespace {home}"
    if secret is None:
        yield fail(about, f"does not exist; spec.kubeConfigFile of {config_name(config)} names it", f"{RENEW}; {store}")
        return
    try:
        kubeconfig = parse_secret(secret)
    except KubeconfigRejected as err:
        yield fail(about, f"its kubeconfig is not taken: {err.message}", f"{RENEW}; {_replace(store)}")
        return
    yield _end(about, end_of(kubeconfig), facts.now, f"{RENEW}; {_replace(store)}")


def _replace(store: str) -> str:
    return f"{store} --dry-run=client --output yaml | kubectl replace --filename -"


def _end(about: str, end: End | None, now: datetime, mend: str) -> Diagnosis:
    if end is None:
        return ok(about, "its credential does not say that it ends")
    if now >= end.at:
        return fail(about, f"its credential ended on {end.text}", mend)
    if now >= end.warn_from:
        return warn(about, f"its credential ends on {end.text}", mend)
    return ok(about, f"its credential is good until {end.text}")


def judge_pods(facts: Facts) -> Iterable[Diagnosis]:
    """What the pods of the DPUs hold does not end soon."""
    asking = [config for config in configs_of(facts) if at(config, "spec", "kubeConfigFile")]
    return each(asking, lambda config: _held(facts, config))


def _held(facts: Facts, config: Obj) -> Iterator[Diagnosis]:
    home = namespace_of(config)
    about = f"Secret {home}/{TENANT_CREDENTIAL}, of the DPU pods"
    secret = facts.infra.get(SECRETS, home, TENANT_CREDENTIAL)
    if secret is None:
        raise NotLookedAt(about, Unseen("the operator has not made it yet"))
    ends = parse_time(annotation(secret, EXPIRES_AT_ANNOTATION))
    look = f"kubectl describe dcc {name_of(config)} --namespace {home}"
    if ends is None:
        # The credential of the given kubeconfig itself; our own copy of that says until when.
        yield _end(about, _own_copy(facts, home), facts.now, RENEW)
    elif facts.now >= ends:
        yield fail(about, f"its token ended on {End(ends).text}: the operator did not renew it", look)
    elif facts.now >= ends - _MINTED_WARNING:
        yield warn(
            about, f"its token ends on {End(ends).text}, and is renewed daily: the operator does not get to it", look
        )
    else:
        yield ok(about, f"its token is good until {End(ends).text}, and is renewed daily")


def _own_copy(facts: Facts, namespace: str) -> End | None:
    """Until when the kubeconfig that the operator took over last is good."""
    secret = facts.infra.get(SECRETS, namespace, TENANT_KUBECONFIG)
    stored = at(secret, "data", TENANT_CREDENTIAL_KEY)
    if not isinstance(stored, str):
        raise NotLookedAt(f"Secret {namespace}/{TENANT_KUBECONFIG}", Unseen("it has not been made yet"))
    try:
        return end_of(parse_kubeconfig(base64.b64decode(stored, validate=True)))
    except (KubeconfigRejected, binascii.Error):
        raise NotLookedAt(f"Secret {namespace}/{TENANT_KUBECONFIG}", Unseen("it cannot be read")) from None


def judge_own(facts: Facts) -> Iterator[Diagnosis]:
    """The operator's own credential in infra is renewed by itself."""
    about = f"credential of Deployment {facts.namespace}/{OPERATOR_DEPLOYMENT}"
    live = facts.infra.get(DEPLOYMENTS, facts.namespace, OPERATOR_DEPLOYMENT)
    pod = at(live, "spec", "template", "spec")
    if live is None:
        raise NotLookedAt(
            about, Unseen("there is no such Deployment: an operator elsewhere has a credential of its own")
        )
    stored = [each for each in mappings(at(pod, "containers")) if _has_kubeconfig(each)]
    if stored:
        how = "read until when it is good where it comes from, or remove --kubeconfig"
        raise NotLookedAt(about, Unseen("it runs with a kubeconfig of its own, which only its pods can read", how))
    if at(pod, "automountServiceAccountToken") is False and not _projects(pod):
        words = "its pods mount no token of a ServiceAccount"
        yield fail(about, words, INSTALL)
        return
    yield ok(about, "is the token of its ServiceAccount, which the kubelet renews")


def _has_kubeconfig(container: Mapping[str, object]) -> bool:
    arguments = container.get("args")
    words = [str(each) for each in arguments] if isinstance(arguments, list) else []
    variables = {each.get("name") for each in mappings(container.get("env"))}
    return "KUBECONFIG" in variables or any(word.split("=")[0] == "--kubeconfig" for word in words)


def _projects(pod: object) -> bool:
    sources = (each for volume in mappings(at(pod, "volumes")) for each in mappings(at(volume, "projected", "sources")))
    return any("serviceAccountToken" in source for source in sources)
