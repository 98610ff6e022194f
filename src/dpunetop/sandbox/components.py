"""The programs of a control plane, and the flags of each."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_AUDIT_LOG_MIB = 8192  # the default of 100 would rotate the log in the middle of a count
LOOPBACK = "127.0.0.1"
_SERVICE_CIDR = "10.0.0.0/24"


class Component(enum.Enum):
    """A program of a control plane; declared in the order in which they start."""

    ETCD = "etcd"
    APISERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"


API_ONLY = (Component.ETCD, Component.APISERVER)
WITH_CONTROLLERS = (*API_ONLY, Component.CONTROLLER_MANAGER)
WHOLE = tuple(Component)


@dataclass(frozen=True)
class User:
    """A user with a static bearer token, known from the start of the control plane."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@dataclass(frozen=True)
class Spec:
    """The settings of a control plane.

    `audit` writes an audit log at Metadata level, without delay. `apiserver_flags` follow ours, so they win.
    """

    name: str
    components: tuple[Component, ...] = WHOLE
    users: tuple[User, ...] = ()
    audit: bool = False
    apiserver_flags: tuple[str, ...] = ()


def token_file(users: Sequence[User]) -> str:
    """The content of `--token-auth-file`: token, user, uid and quoted groups. Source: Kubernetes, "Authenticating"."""
    return "".join(f'{user.token},{user.name},{user.name},"{",".join(user.groups)}"\n' for user in users)


class Flags:
    """The flags of a control plane's programs, with all files in one folder."""

    def __init__(self, spec: Spec, folder: Path, port: Callable[[str], int]) -> None:
        """`port` returns the port of a name, always the same one."""
        self._spec = spec
        self._folder = folder
        self._port = port

    @property
    def _etcd_url(self) -> str:
        return f"http://{LOOPBACK}:{self._port('etcd')}"

    def of(self, component: Component) -> list[str]:
        """The flags of one program."""
        match component:
            case Component.ETCD:
                return self._etcd_flags()
            case Component.APISERVER:
                return [*self._apiserver_flags(), *self._spec.apiserver_flags]
            case Component.CONTROLLER_MANAGER:
                return self._controller_manager_flags()
            case Component.SCHEDULER:
                return self._scheduler_flags()

    def _etcd_flags(self) -> list[str]:
        client = self._etcd_url
        peer = f"http://{LOOPBACK}:{self._port('etcd-peer')}"
        return [
            f"--data-dir={self._folder / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _apiserver_flags(self) -> list[str]:
        return [
            f"--etcd-servers={self._etcd_url}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self._port('kube-apiserver')}",
            f"--tls-cert-file={self._folder / 'serving.pem'}",
            f"--tls-private-key-file={self._folder / 'serving.key'}",
            f"--client-ca-file={self._folder / 'ca.pem'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'sa.pub'}",
            f"--service-account-signing-key-file={self._folder / 'sa.key'}",
            f"--service-cluster-ip-range={_SERVICE_CIDR}",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--disable-admission-plugins={','.join(self._disabled_plugins())}",
            *(self._audit_flags() if self._spec.audit else ()),
        ]

    def _disabled_plugins(self) -> list[str]:
        """TaintNodesByCondition taints each new Node, and there is no kubelet; ServiceAccount needs the controllers."""
        needs_controllers = [] if Component.CONTROLLER_MANAGER in self._spec.components else ["ServiceAccount"]
        return ["TaintNodesByCondition", *needs_controllers]

    def _audit_flags(self) -> list[str]:
        return [
            f"--audit-policy-file={self._folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self._folder / 'audit.log'}",
            "--audit-log-mode=blocking",
            f"--audit-log-maxsize={_AUDIT_LOG_MIB}",
        ]

    def _controller_manager_flags(self) -> list[str]:
        return [
            *self._satellite_flags(Component.CONTROLLER_MANAGER),
            f"--service-account-private-key-file={self._folder / 'sa.key'}",
            f"--root-ca-file={self._folder / 'ca.pem'}",
            "--controllers=*,-node-lifecycle-controller",
        ]

    def _scheduler_flags(self) -> list[str]:
        return self._satellite_flags(Component.SCHEDULER)

    def _satellite_flags(self, component: Component) -> list[str]:
        own = self._folder / f"{component.value}.kubeconfig"
        return [
            f"--kubeconfig={own}",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._port(component.value)}",
            f"--tls-cert-file={self._folder / 'serving.pem'}",
            f"--tls-private-key-file={self._folder / 'serving.key'}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]
