"""Checks of every credential: the stored kubeconfigs, that of the DPU pods, and the operator's own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, pairwise

from dpunetop.domain.credential.account import parse_time
from dpunetop.domain.doctor.cluster import OPERATOR_DEPLOYMENT, config_name, configs_of
from dpunetop.domain.doctor.model import Diagnosis, Facts, NotLookedAt, Unseen, annotation, each, fail, ok, warn
from dpunetop.domain.doctor.rights import INSTALL
from dpunetop.domain.names import (
    EXPIRES_AT_ANNOTATION,
    OVN_CA,
    OVN_CERT,
    TENANT_CREDENTIAL,
    TENANT_CREDENTIAL_KEY,
    TENANT_KUBECONFIG,
)
from dpunetop.domain.tenant.credentialend import End, end_of, end_of_authority, end_of_certificate
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig, parse_secret
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, SECRETS, Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.shapes import at, mappings

RENEW = "python -m dpunetop tenant-kubeconfig --tenant-kubeconfig TENANT-ADMIN --file tenant.kubeconfig"
_MINTED_WARNING = timedelta(days=1)


def judge_kubeconfigs(facts: Facts) -> Iterable[Diagnosis]:
    """The kubeconfig of each tenant exists, is accepted, and does not expire soon."""
    return each(configs_of(facts), lambda config: _given(facts, config), namespace_of)


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


def _end(about: str, end: End | None, now: datetime, mend: str, what: str = "credential") -> Diagnosis:
    if early := end.early(now) if end else "":
        return fail(about, f"its {what} {early}", mend)
    if end is None or now < end.warn_from:
        return ok(about, f"its {what} is good until {end.text}" if end else f"its {what} does not say that it ends")
    if now >= end.at:
        return fail(about, f"its {what} ended on {end.text}", mend)
    return warn(about, f"its {what} ends on {end.text}", mend)


def judge_pods(facts: Facts) -> Iterable[Diagnosis]:
    """The credential of the DPU pods does not expire soon."""
    asking = [config for config in configs_of(facts) if at(config, "spec", "kubeConfigFile")]
    return each(asking, lambda config: _held(facts, config), namespace_of)


def _held(facts: Facts, config: Obj) -> Iterator[Diagnosis]:
    home = namespace_of(config)
    about = f"Secret {home}/{TENANT_CREDENTIAL}, of the DPU pods"
    secret = facts.infra.get(SECRETS, home, TENANT_CREDENTIAL)
    look = f"kubectl describe dcc {name_of(config)} --namespace {home}"
    if secret is None:
        raise NotLookedAt(about, Unseen("the operator has not made it yet", look))
    ends = parse_time(annotation(secret, EXPIRES_AT_ANNOTATION))
    if ends is None:
        # The credential of the given kubeconfig itself; our own copy of that shows its end.
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
    """The end of the kubeconfig that the operator accepted last."""
    secret = facts.infra.get(SECRETS, namespace, TENANT_KUBECONFIG)
    stored, about = at(secret, "data", TENANT_CREDENTIAL_KEY), f"Secret {namespace}/{TENANT_KUBECONFIG}"
    look = f"kubectl describe dcc --namespace {namespace}"
    if not isinstance(stored, str):
        raise NotLookedAt(about, Unseen("it has not been made yet", look))
    try:
        return end_of(parse_kubeconfig(base64.b64decode(stored, validate=True)))
    except (KubeconfigRejected, binascii.Error):
        raise NotLookedAt(about, Unseen("it cannot be read", look)) from None


def judge_copies(facts: Facts) -> Iterable[Diagnosis]:
    """The certificates that are copied from tenants do not end soon."""
    homes = sorted({namespace_of(config) for config in configs_of(facts) if at(config, "spec", "kubeConfigFile")})
    return each(
        ((home, *copy) for home in homes for copy in _COPIES), lambda copy: _copied(facts, *copy), lambda copy: copy[0]
    )


_COPIES = ((SECRETS, OVN_CERT, "tls.crt"), (CONFIGMAPS, OVN_CA, "ca-bundle.crt"))


def _copied(facts: Facts, home: str, resource: Resource, name: str, key: str) -> Iterator[Diagnosis]:
    about = f"{resource.kind} {home}/{name}"
    live = facts.infra.get(resource, home, name)
    if live is None:
        yield ok(about, "is not there: only a tenant with central databases has it copied")
        return
    text = str(at(live, "data", key) or "")
    end = end_of_certificate(_decoded(text)) if resource is SECRETS else end_of_authority(text)
    if end is None:
        yield fail(about, f"its {key} cannot be read", f"kubectl delete {resource.plural} {name} --namespace {home}")
    else:
        yield _end(about, replace(end, of=""), facts.now, _RENEW_COPY, "certificate")


_RENEW_COPY = "have the tenant's cluster network operator renew its own (oc describe co network); the copy follows"


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("ascii", "replace")
    except binascii.Error:
        return ""


def judge_own(facts: Facts) -> Iterable[Diagnosis]:
    """The operator's own credential in infra is renewed automatically, and so is the certificate of its metrics."""
    return each((_own, _serving), lambda part: part(facts))


def _serving(facts: Facts) -> Iterator[Diagnosis]:
    name = serving_secret(facts.infra.get(DEPLOYMENTS, facts.namespace, OPERATOR_DEPLOYMENT))
    if not name:
        return
    about = f"Secret {facts.namespace}/{name}, of /metrics"
    live = facts.infra.get(SECRETS, facts.namespace, name)
    if live is None:
        yield ok(about, "does not exist: the operator signs a certificate itself")
        return
    end = end_of_certificate(_decoded(str(at(live, "data", "tls.crt") or "")))
    delete = f"kubectl delete secret {name} --namespace {facts.namespace}"
    mend = f"have its author (the service CA, cert-manager) renew it, or delete it: {delete}"
    if end is None:
        yield fail(about, "its tls.crt cannot be read: the operator goes on with the certificate before", mend)
    else:
        yield _end(about, end, facts.now, mend, "certificate")


def serving_secret(deployment: Obj | None) -> str:
    """The Secret that holds the certificate of /metrics; empty: there is none."""
    pod = at(deployment, "spec", "template", "spec")
    for container in mappings(at(pod, "containers")):
        folder = _flag(container, "--metrics-cert-path")
        mounts = [each for each in mappings(container.get("volumeMounts")) if each.get("mountPath") == folder]
        for volume in mappings(at(pod, "volumes")):
            if volume.get("name") in [mount.get("name") for mount in mounts]:
                return str(at(volume, "secret", "secretName") or "")
    return ""


def _flag(container: Mapping[str, object], name: str) -> str:
    words = _words(container)
    with_value = (word.partition("=")[2] for word in words if word.startswith(f"{name}="))
    apart = (value for word, value in pairwise(words) if word == name)
    return next(chain(with_value, apart), "")


def _words(container: Mapping[str, object]) -> list[str]:
    arguments = container.get("args")
    return [str(each) for each in arguments] if isinstance(arguments, list) else []


def _own(facts: Facts) -> Iterator[Diagnosis]:
    about = f"credential of Deployment {facts.namespace}/{OPERATOR_DEPLOYMENT}"
    live = facts.infra.get(DEPLOYMENTS, facts.namespace, OPERATOR_DEPLOYMENT)
    pod = at(live, "spec", "template", "spec")
    if live is None:
        words = "there is no such Deployment: an operator elsewhere has a credential of its own"
        raise NotLookedAt(about, Unseen(words, "name its namespace with --operator-namespace; docs/install.md"))
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
    words = _words(container)
    variables = {each.get("name") for each in mappings(container.get("env"))}
    return "KUBECONFIG" in variables or any(word.split("=")[0] == "--kubeconfig" for word in words)


def _projects(pod: object) -> bool:
    sources = (each for volume in mappings(at(pod, "volumes")) for each in mappings(at(volume, "projected", "sources")))
    return any("serviceAccountToken" in source for source in sources)
