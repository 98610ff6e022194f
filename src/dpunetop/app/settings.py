"""Parses flags and environment into one frozen value; an invalid setting is one line with the cause and the remedy."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn
from urllib.parse import urlsplit

from dpunetop.domain.ovnkube.image import AllowedImages, entry_problem, parse_reference

DEFAULT_METRICS_PORT = 49555
DEFAULT_HEALTH_PORT = 49556

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SettingsError(Exception):
    """An invalid setting; its text is the one line to show."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; an empty host means all addresses."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class LeaderElection:
    """Timings of the Lease, in seconds."""

    lease_duration_seconds: float
    renew_deadline_seconds: float
    retry_period_seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the operator. None: not given, or off."""

    kubeconfig: str | None
    namespace: str
    watch_namespaces: tuple[str, ...] | None
    """Namespaces in which DpuClusterConfigs are served; None: all."""
    tenant_namespace: str
    ovnkube_image: str | None
    operator_image: str | None
    """The image of the blockers; None: `ovnkube_image`, else the image of infra's own OVN-Kubernetes."""
    allowed_images: AllowedImages | None
    """Allowed image repositories; None: not given, so that `spec.image` may name those in use."""
    metrics: Address | None
    metrics_secure: bool
    metrics_cert_path: str | None
    health: Address | None
    leader_election: LeaderElection | None
    max_concurrent_reconciles: int
    resync_seconds: float
    """The resync period of each key."""
    log_level: str
    log_format: str
    tenant_allowed_cidrs: tuple[Network, ...]
    tenant_proxy_url: str | None

    def shown(self) -> dict[str, str]:
        """For the log: each setting as text, without the user and password that a URL may carry."""
        return {each.name: _without_user(str(getattr(self, each.name))) for each in fields(self)}


def _without_user(text: str) -> str:
    """Drop everything from the first `//` to the last `@`, since a password may contain either."""
    scheme, found, rest = text.partition("//")
    _, ends, host = rest.rpartition("@")
    return f"{scheme}//...@{host}" if found and ends else text


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the flags of `run` and their environment variables; flags win.

    Raises: SettingsError for the first invalid value.
    """
    given = vars(parser().parse_args(list(arguments)))

    def value(flag: str, variable: str | None, default: str) -> tuple[str, str]:
        """The text given for a setting and where it came from; an empty variable counts as not set."""
        if given[flag] is not None:
            return given[flag], "--" + flag.replace("_", "-")
        if variable and environment.get(variable):
            return environment[variable], variable
        return default, "--" + flag.replace("_", "-")

    def read(flag: str, variable: str | None, default: str, convert: Callable[[str, str], Any]) -> Any:
        text, source = value(flag, variable, default)
        return convert(text, source)

    namespace = _namespace(environment.get("NAMESPACE", ""), "NAMESPACE")
    return Settings(
        kubeconfig=read("kubeconfig", "KUBECONFIG", "", _optional),
        namespace=namespace,
        watch_namespaces=_watched(given["watch_namespaces"], environment, namespace),
        tenant_namespace=_namespace(
            environment.get("TENANT_NAMESPACE", "openshift-ovn-kubernetes"), "TENANT_NAMESPACE"
        ),
        ovnkube_image=_image(environment.get("OVNKUBE_IMAGE", ""), "OVNKUBE_IMAGE"),
        operator_image=read("operator_image", "OPERATOR_IMAGE", "", _image),
        allowed_images=read("allowed_images", "ALLOWED_IMAGES", "", _allowed_images),
        metrics=read("metrics_bind_address", None, f":{DEFAULT_METRICS_PORT}", _address),
        metrics_secure=read("metrics_secure", None, "true", _truth),
        metrics_cert_path=read("metrics_cert_path", None, "", _optional),
        health=read("health_probe_bind_address", None, f":{DEFAULT_HEALTH_PORT}", _address),
        leader_election=_leader_election(read) if read("leader_elect", None, "false", _truth) else None,
        max_concurrent_reconciles=read("max_concurrent_reconciles", None, "16", _count),
        resync_seconds=read("resync_period", None, "10m", _duration),
        log_level=read("log_level", None, "info", _one_of("debug", "info", "warning", "error")),
        log_format=read("log_format", None, "json", _one_of("json", "console")),
        tenant_allowed_cidrs=read("tenant_allowed_cidrs", "TENANT_ALLOWED_CIDRS", "", _networks),
        tenant_proxy_url=read("tenant_proxy_url", "TENANT_PROXY_URL", "", _proxy),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; `python -m dpunetop run --help` lists the flags")


def parser() -> argparse.ArgumentParser:
    """The flags of `run`; their values are checked where they are read."""
    made = _Parser(prog="dpunetop run", allow_abbrev=False, description="Run the operator.")
    for flag, text in _FLAGS.items():
        optional = "?" if flag in ("leader-elect", "metrics-secure") else None
        made.add_argument(f"--{flag}", help=text, nargs=optional, const="true" if optional else None)
    return made


_FLAGS = {
    "kubeconfig": "kubeconfig of the infra cluster [KUBECONFIG]; default: the pod's ServiceAccount",
    "metrics-bind-address": f"address of /metrics, 0 turns it off; default :{DEFAULT_METRICS_PORT}",
    "metrics-secure": "HTTPS with authentication for /metrics; default true",
    "metrics-cert-path": "folder with tls.crt and tls.key, read again when they change; default: self-signed",
    "health-probe-bind-address": f"address of /healthz and /readyz, 0 turns them off; default :{DEFAULT_HEALTH_PORT}",
    "leader-elect": "work only while holding the Lease; default false",
    "leader-elect-lease-duration": "how long a standby waits for a silent leader; default 15s",
    "leader-elect-renew-deadline": "how long a leader tries to renew before it gives up; default 10s",
    "leader-elect-retry-period": "pause between two tries; default 2s",
    "max-concurrent-reconciles": "workers a controller; default 16",
    "resync-period": "how long nothing goes without a look, though nothing has changed; default 10m",
    "log-level": "debug, info, warning or error; default info",
    "log-format": "json or console; default json",
    "watch-namespaces": "namespaces to serve, comma-separated, * for all [WATCH_NAMESPACE]; default: NAMESPACE",
    "operator-image": "image of the blocker pods [OPERATOR_IMAGE]; default: OVNKUBE_IMAGE, else infra's ovnkube",
    "allowed-images": "repositories, or paths that end in /, comma-separated, that spec.image and tenants may name "
    "[ALLOWED_IMAGES]; default: for spec.image the repositories in use, for tenants none",
    "tenant-allowed-cidrs": "networks of tenant API servers that are refused otherwise [TENANT_ALLOWED_CIDRS]",
    "tenant-proxy-url": "the only proxy ever used towards tenants [TENANT_PROXY_URL]",
}


def _watched(flag: str | None, environment: Mapping[str, str], namespace: str) -> tuple[str, ...] | None:
    """OLM sets WATCH_NAMESPACE to nothing when it means all namespaces, so set-but-empty is not the same as unset."""
    text = flag if flag is not None else environment.get("WATCH_NAMESPACE")
    source = "--watch-namespaces" if flag is not None else "WATCH_NAMESPACE"
    if text is None:
        return (namespace,)
    if text.strip() in ("", "*"):
        return None
    return tuple(sorted({_namespace(name.strip(), source) for name in text.split(",")}))


def _leader_election(read: Callable[..., Any]) -> LeaderElection:
    timings = LeaderElection(
        read("leader_elect_lease_duration", None, "15s", _duration),
        read("leader_elect_renew_deadline", None, "10s", _duration),
        read("leader_elect_retry_period", None, "2s", _duration),
    )
    if timings.lease_duration_seconds <= timings.renew_deadline_seconds:
        raise SettingsError("--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline")
    if timings.renew_deadline_seconds <= 1.2 * timings.retry_period_seconds:
        raise SettingsError("--leader-elect-renew-deadline must be longer than 1.2 times --leader-elect-retry-period")
    return timings


def _optional(text: str, _source: str) -> str | None:
    return text or None


def _namespace(text: str, source: str) -> str:
    if not text:
        raise SettingsError(f"{source} is empty: give the name of a namespace")
    if not _DNS_LABEL.fullmatch(text):
        raise SettingsError(f"{source}: {text!r} is not the name of a namespace")
    return text


def _address(text: str, source: str) -> Address | None:
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{source}: {text!r} is not host:port, such as :8443 or 127.0.0.1:8443; 0 turns it off")
    return Address(host.strip("[]"), int(port))


def _truth(text: str, source: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise SettingsError(f"{source}: {text!r} is neither true nor false")
    return text.lower() == "true"


def _count(text: str, source: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise SettingsError(f"{source}: {text!r} is not a number from 1 to 256")
    return int(text)


def _one_of(*choices: str) -> Callable[[str, str], str]:
    def convert(text: str, source: str) -> str:
        if text not in choices:
            raise SettingsError(f"{source}: {text!r} is none of {', '.join(choices)}")
        return text

    return convert


def _duration(text: str, source: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise SettingsError(f"{source}: {text!r} is not a duration, such as 15s or 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not seconds:
        raise SettingsError(f"{source}: must be longer than nothing")
    return seconds


def _image(text: str, source: str) -> str | None:
    if text and parse_reference(text) is None:
        raise SettingsError(f"{source}: {text!r} is not an image, such as registry.example/dpunetop@sha256:...")
    return text or None


def _allowed_images(text: str, source: str) -> AllowedImages | None:
    entries = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for entry in entries:
        if problem := entry_problem(entry):
            raise SettingsError(f"{source}: {entry!a} {problem}")
    return AllowedImages(entries) if entries else None


def _networks(text: str, source: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as err:
        raise SettingsError(f"{source}: {err}; give networks such as 10.1.2.0/24, comma-separated") from err


def _proxy(text: str, source: str) -> str | None:
    if not text:
        return None
    url = urlsplit(text)
    if url.scheme != "http" or not url.hostname:
        shown = text.rpartition("@")[2]  # the text before it may be a password
        raise SettingsError(f"{source}: {shown!r} is not a proxy URL, such as http://proxy.example:3128")
    return text
