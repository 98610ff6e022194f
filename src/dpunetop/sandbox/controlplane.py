"""Real control planes on loopback: etcd, kube-apiserver, and where asked controller manager and scheduler."""

from __future__ import annotations

import base64
import enum
import json
import secrets
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from dpunetop.kube.errors import ApiError
from dpunetop.sandbox import binaries
from dpunetop.sandbox.admin import AdminClient, Credential, Obj
from dpunetop.sandbox.pki import Authority, KeyPair, signing_key
from dpunetop.sandbox.processes import Port, Process, ReaperError, RunFolder, minimal_environment, reserve_port

_START_SECONDS = 120.0
_TERMINATE_SECONDS = 2.0
_POLL_SECONDS = 0.05
_TAIL_LINES = 30
_AUDIT_LOG_MIB = 8192  # as it comes the log begins anew at 100, in the middle of what is counted
_LOOPBACK = "127.0.0.1"
_LAZY_GO = {"GOGC": "400"}  # an API server spends a fifth of its time on garbage; there is memory enough
_SERVICE_CIDR = "10.0.0.0/24"
_SERVICE_ADDRESS = "10.0.0.1"
_SERVICE_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_MASTERS = "system:masters"


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
    """Someone known by a bearer token from the start of the control plane."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@dataclass(frozen=True)
class Spec:
    """What a control plane is made of.

    `audit` writes an audit log at Metadata level, without delay. `apiserver_flags` come after ours, so they win.
    """

    name: str
    components: tuple[Component, ...] = WHOLE
    users: tuple[User, ...] = ()
    audit: bool = False
    apiserver_flags: tuple[str, ...] = ()


class StartFailed(Exception):
    """A component did not come up; the text holds the end of its log."""


class ControlPlane:
    """One control plane: a context manager, or `start` and `stop`.

    Guarantees: when `start` returns, the API server is ready, default ServiceAccounts are made where a controller
        manager was asked for, and the scheduler has read its caches. Data, ports and credentials survive `restart` and
        `kill` of a component. After `stop`, or the end of this process by whatever means, no process and no file is
        left.
    Threads: any, but `start`, `restart`, `kill`, `pause` and `resume` of one component by one thread at a time. `stop`
        may be called while another thread is in `start`, which then fails.
    """

    def __init__(self, spec: Spec, programs: binaries.Binaries | None = None) -> None:
        self.spec = spec
        self._programs = programs
        self._abandoned = threading.Event()
        self._run: _Run | None = None

    def __repr__(self) -> str:
        return f"<ControlPlane {self.spec.name} {self.url if self._run else 'not started'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all components and wait until they are ready.

        Raises: StartFailed; BinariesNotFound. Whatever had been started is stopped then.
        """
        programs = self._programs or binaries.find()
        self._run = _Run(self.spec, programs, self._abandoned)
        try:
            self._run.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill all processes, give the ports back, remove the run folder; may be called again."""
        self._abandoned.set()
        if self._run is not None:
            self._run.close()

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return self._started.url

    @property
    def etcd_url(self) -> str:
        """Where etcd listens, for one more API server on the same data (`--etcd-servers`)."""
        return self._started.etcd_url

    @property
    def ca_pem(self) -> bytes:
        """The CA of the API server's certificate."""
        return self._started.authority.pem

    @property
    def folder(self) -> Path:
        """The run folder: logs, certificates, kubeconfigs. Gone after `stop`."""
        return self._started.folder

    @property
    def admin(self) -> AdminClient:
        """A client that may do everything."""
        return self._started.admin

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig file of someone who may do everything."""
        return self._started.admin_kubeconfig

    # --- who may ask ------------------------------------------------------------------------------------------------

    def client(self, token: str | None) -> AdminClient:
        """A client for a bearer token, or an anonymous one; the caller closes it."""
        return AdminClient(self.url, self._started.ca_file, Credential(token=token))

    def token_kubeconfig(self, token: str, *, url: str | None = None, namespace: str | None = None) -> Obj:
        """A kubeconfig for a bearer token; `url` names another way to the server, such as a proxy."""
        return kubeconfig(self.spec.name, url or self.url, self.ca_pem, {"token": token}, namespace)

    def certificate_kubeconfig(self, user: str, groups: Sequence[str] = (), *, url: str | None = None) -> Obj:
        """A kubeconfig with a new client certificate of a user with groups of choice."""
        pair = self._started.authority.client(user, groups)
        return kubeconfig(self.spec.name, url or self.url, self.ca_pem, _certificate_user(pair))

    def service_account_token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A new token of a ServiceAccount that exists (TokenRequest; 600 s at least)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.admin.create(path, {"spec": {"expirationSeconds": seconds}})
        return str(answer["status"]["token"])

    def write_kubeconfig(self, content: Mapping[str, Any], name: str) -> Path:
        """Put a kubeconfig into the run folder, readable by this user only."""
        return _write(self.folder / f"{name}.kubeconfig", _yaml(content))

    # --- work with it -----------------------------------------------------------------------------------------------

    def apply(self, manifests: str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[Obj]:
        """See `AdminClient.apply`."""
        return self.admin.apply(manifests)

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 60.0) -> str:
        """Run kubectl as admin; what it printed. Raises: CalledProcessError with its stderr; TimeoutExpired."""
        return self._started.kubectl(arguments, stdin, timeout)

    def audit_mark(self) -> int:
        """The present end of the audit log, for `audit_events`."""
        return self._started.audit_log.stat().st_size

    def audit_events(self, *, user: str | None = None, verb: str | None = None, since: int = 0) -> list[Obj]:
        """The audit events that were complete after a mark, filtered by user name and verb."""
        with open(self._started.audit_log, "rb") as log:
            log.seek(since)
            return list(select_audit_events(log, user, verb))

    # --- faults -----------------------------------------------------------------------------------------------------

    def restart(self, component: Component, flags: Sequence[str] = ()) -> None:
        """End a component (SIGTERM, after 2 s SIGKILL) if it runs and start it, with more flags, until it is ready."""
        self._started.end(component, signal.SIGTERM)
        self._started.start_component(component, tuple(flags))

    def kill(self, component: Component) -> None:
        """SIGKILL, and wait for the end; `restart` brings it back."""
        self._started.end(component, signal.SIGKILL)

    def pause(self, component: Component) -> None:
        """SIGSTOP: connections stay open and silent."""
        self._started.process(component).signal(signal.SIGSTOP)

    def resume(self, component: Component) -> None:
        """SIGCONT."""
        self._started.process(component).signal(signal.SIGCONT)

    def back_up(self) -> None:
        """Keep what etcd holds now, for `set_back`, instead of what was kept before; etcd is away for that moment."""
        self._started.back_up()

    def set_back(self) -> None:
        """Stop everything, have etcd hold again what it held at `back_up`, start everything: restored without care, so
        that the versions given out since are given out once more."""
        self._started.set_back()

    def process(self, component: Component) -> Process:
        """The process of a component, to look at."""
        return self._started.process(component)

    @property
    def _started(self) -> _Run:
        if self._run is None:
            raise RuntimeError(f"control plane {self.spec.name} is not started")
        return self._run


class ControlPlanePair:
    """The two clusters of this operator, started side by side."""

    def __init__(self, infra: Spec | None = None, tenant: Spec | None = None) -> None:
        self.infra = ControlPlane(infra or Spec("infra"))
        self.tenant = ControlPlane(tenant or Spec("tenant", WITH_CONTROLLERS))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start both; if one fails, neither is left. Raises: as `ControlPlane.start`."""
        binaries.find()
        failures: list[BaseException] = []
        thread = threading.Thread(target=self._start_tenant, args=(failures,), name="start-tenant")
        thread.start()
        try:
            self.infra.start()
        except BaseException:
            self.tenant.stop()
            raise
        finally:
            thread.join()
        if failures:
            self.infra.stop()
            raise failures[0]

    def stop(self) -> None:
        """Stop both; may be called again."""
        self.infra.stop()
        self.tenant.stop()

    def _start_tenant(self, failures: list[BaseException]) -> None:
        try:
            self.tenant.start()
        except (StartFailed, ReaperError, ApiError, OSError, binaries.BinariesNotFound) as err:
            failures.append(err)
            self.infra.stop()


class _Run:
    """Files, ports and processes of a control plane from its start to its stop."""

    def __init__(self, spec: Spec, programs: binaries.Binaries, abandoned: threading.Event) -> None:
        self._spec = spec
        self._programs = programs
        self._abandoned = abandoned
        self._guard = threading.Lock()  # guards _processes and _ports
        self._processes: dict[Component, Process] = {}
        self._ports: dict[str, Port] = {}
        self.authority = Authority(spec.name)
        self._run_folder = RunFolder(spec.name)
        self.folder = self._run_folder.path
        self.audit_log = self.folder / "audit.log"
        try:
            self.ca_file = _write(self.folder / "ca.pem", self.authority.pem)
            self._write_credentials()
        except BaseException:
            self._run_folder.close()
            raise
        self.admin_kubeconfig = self.folder / "admin.kubeconfig"
        credential = Credential(certificate=self.folder / "admin.pem", key=self.folder / "admin.key")
        self.admin = AdminClient(self.url, self.ca_file, credential)

    @property
    def url(self) -> str:
        return f"https://{_LOOPBACK}:{self._port('kube-apiserver')}"

    @property
    def etcd_url(self) -> str:
        return f"http://{_LOOPBACK}:{self._port('etcd')}"

    def close(self) -> None:
        self.admin.close()
        self._run_folder.close()
        with self._guard:
            for port in self._ports.values():
                port.release()

    # --- start and end of components --------------------------------------------------------------------------------

    def start(self) -> None:
        for component in self._spec.components:
            self._launch(component, ())
            if component in API_ONLY:
                self._wait_ready(component)
        for component in self._spec.components:
            self._wait_ready(component)

    def start_component(self, component: Component, flags: tuple[str, ...]) -> None:
        self._launch(component, flags)
        self._wait_ready(component)

    def end(self, component: Component, number: signal.Signals) -> None:
        process = self.process(component)
        process.signal(number)
        process.signal(signal.SIGCONT)  # a paused one takes no other signal
        if process.wait(_TERMINATE_SECONDS) is None:
            process.signal(signal.SIGKILL)
            process.wait(_TERMINATE_SECONDS)

    def back_up(self) -> None:
        self.end(Component.ETCD, signal.SIGTERM)
        shutil.rmtree(self._backup, ignore_errors=True)
        shutil.copytree(self._data, self._backup)
        self.start_component(Component.ETCD, ())
        self._wait_ready(Component.APISERVER)

    def set_back(self) -> None:
        for component in reversed(self._spec.components):
            self.end(component, signal.SIGTERM)
        shutil.rmtree(self._data)
        shutil.copytree(self._backup, self._data)
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "etcd"

    @property
    def _backup(self) -> Path:
        return self.folder / "etcd-backup"

    def process(self, component: Component) -> Process:
        with self._guard:
            return self._processes[component]

    def _launch(self, component: Component, flags: tuple[str, ...]) -> None:
        if self._abandoned.is_set():
            raise StartFailed(f"{self._spec.name}: stopped while starting")
        argv = [str(self._programs.path(component.value)), *self._flags(component), *flags]
        process = self._run_folder.reaper.spawn(argv, self._log(component), {**minimal_environment(), **_LAZY_GO})
        with self._guard:
            self._processes[component] = process

    def _wait_ready(self, component: Component) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready(component):
            code = self.process(component).poll()
            if code is not None:
                raise StartFailed(self._failure(component, f"ended with code {code}"))
            if time.monotonic() > deadline:
                raise StartFailed(self._failure(component, f"was not ready after {_START_SECONDS:.0f} s"))
            if self._abandoned.wait(_POLL_SECONDS):
                raise StartFailed(f"{self._spec.name}: stopped while starting")

    def _is_ready(self, component: Component) -> bool:
        match component:
            case Component.ETCD:
                return _answers(f"{self.etcd_url}/health", None)
            case Component.APISERVER:
                return self._is_api_ready()
            case Component.CONTROLLER_MANAGER:
                return self._is_healthy(component, "/healthz") and self._has_default_account()
            case Component.SCHEDULER:
                return self._is_healthy(component, "/readyz")

    def _is_api_ready(self) -> bool:
        try:
            return self.admin.text("/readyz") == "ok"
        except ApiError:
            return False

    def _has_default_account(self) -> bool:
        return bool(self.admin.get_or_empty("/api/v1/namespaces/default/serviceaccounts/default"))

    def _is_healthy(self, component: Component, path: str) -> bool:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return _answers(f"https://{_LOOPBACK}:{self._port(component.value)}{path}", trust)

    def _failure(self, component: Component, what: str) -> str:
        return f"{self._spec.name}: {component.value} {what}; the end of its log:\n{self.tail(component, _TAIL_LINES)}"

    # --- files ------------------------------------------------------------------------------------------------------

    def tail(self, component: Component, lines: int) -> str:
        log = self._log(component)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def _log(self, component: Component) -> Path:
        return self.folder / f"{component.value}.log"

    def _write_credentials(self) -> None:
        self._write_pair("serving", self.authority.serving(_SERVICE_NAMES, (_LOOPBACK, "::1", _SERVICE_ADDRESS)))
        self._write_client("admin", "sandbox-admin")
        self._write_client("kube-controller-manager", "system:kube-controller-manager")
        self._write_client("kube-scheduler", "system:kube-scheduler")
        key = signing_key()
        _write(self.folder / "sa.pub", key.public)
        _write(self.folder / "sa.key", key.private)
        _write(self.folder / "tokens.csv", token_file(self._spec.users).encode())
        _write(self.folder / "audit-policy.yaml", _yaml(_AUDIT_POLICY))

    def _write_client(self, name: str, user: str) -> None:
        pair = self.authority.client(user, (_MASTERS,))
        self._write_pair(name, pair)
        content = kubeconfig(self._spec.name, self.url, self.authority.pem, _certificate_user(pair))
        _write(self.folder / f"{name}.kubeconfig", _yaml(content))

    def _write_pair(self, name: str, pair: KeyPair) -> None:
        _write(self.folder / f"{name}.pem", pair.certificate)
        _write(self.folder / f"{name}.key", pair.key)

    # --- flags ------------------------------------------------------------------------------------------------------

    def _port(self, name: str) -> int:
        with self._guard:
            if name not in self._ports:
                self._ports[name] = reserve_port()
            return self._ports[name].number

    def _flags(self, component: Component) -> list[str]:
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
        client = self.etcd_url
        peer = f"http://{_LOOPBACK}:{self._port('etcd-peer')}"
        return [
            f"--data-dir={self._data}",
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
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={_LOOPBACK}",
            f"--advertise-address={_LOOPBACK}",
            f"--secure-port={self._port('kube-apiserver')}",
            f"--tls-cert-file={self.folder / 'serving.pem'}",
            f"--tls-private-key-file={self.folder / 'serving.key'}",
            f"--client-ca-file={self.ca_file}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'sa.pub'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            f"--service-cluster-ip-range={_SERVICE_CIDR}",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--disable-admission-plugins={','.join(self._disabled_plugins())}",
            *(self._audit_flags() if self._spec.audit else ()),
        ]

    def _disabled_plugins(self) -> list[str]:
        """Without a kubelet every new Node would be tainted; without controllers no ServiceAccount would exist."""
        needs_controllers = [] if Component.CONTROLLER_MANAGER in self._spec.components else ["ServiceAccount"]
        return ["TaintNodesByCondition", *needs_controllers]

    def _audit_flags(self) -> list[str]:
        return [
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking",
            f"--audit-log-maxsize={_AUDIT_LOG_MIB}",
        ]

    def _controller_manager_flags(self) -> list[str]:
        return [
            *self._satellite_flags(Component.CONTROLLER_MANAGER),
            f"--service-account-private-key-file={self.folder / 'sa.key'}",
            f"--root-ca-file={self.ca_file}",
            "--controllers=*,-node-lifecycle-controller",
        ]

    def _scheduler_flags(self) -> list[str]:
        return self._satellite_flags(Component.SCHEDULER)

    def _satellite_flags(self, component: Component) -> list[str]:
        own = self.folder / f"{component.value}.kubeconfig"
        return [
            f"--kubeconfig={own}",
            "--leader-elect=false",
            f"--bind-address={_LOOPBACK}",
            f"--secure-port={self._port(component.value)}",
            f"--tls-cert-file={self.folder / 'serving.pem'}",
            f"--tls-private-key-file={self.folder / 'serving.key'}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def kubectl(self, arguments: Sequence[str], stdin: str, timeout: float) -> str:
        own = [f"--kubeconfig={self.admin_kubeconfig}", f"--cache-dir={self.folder / 'kubectl-cache'}"]
        answer = subprocess.run(
            [str(self._programs.path("kubectl")), *own, *arguments],
            env={**minimal_environment(), "HOME": str(self.folder)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if answer.returncode != 0:
            failed = subprocess.CalledProcessError(answer.returncode, arguments, answer.stdout, answer.stderr)
            failed.add_note(answer.stderr)
            raise failed
        return answer.stdout


_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def kubeconfig(name: str, url: str, ca: bytes, user: Mapping[str, Any], namespace: str | None = None) -> Obj:
    """A kubeconfig with one cluster, one user, one context."""
    context = {"cluster": name, "user": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": _base64(ca)}}],
        "users": [{"name": name, "user": dict(user)}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def token_file(users: Sequence[User]) -> str:
    """What `--token-auth-file` reads: token, user, uid and groups in quotes. Source: Kubernetes, "Authenticating"."""
    return "".join(f'{user.token},{user.name},{user.name},"{",".join(user.groups)}"\n' for user in users)


def select_audit_events(lines: Iterable[bytes], user: str | None, verb: str | None) -> Iterator[Obj]:
    """The events of an audit log that match; a last line that is still being written is left out."""
    for line in lines:
        if not line.endswith(b"\n"):
            return
        event = json.loads(line)
        if user in (None, event["user"].get("username")) and verb in (None, event["verb"]):
            yield event


def _certificate_user(pair: KeyPair) -> Obj:
    return {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _yaml(content: Mapping[str, Any]) -> bytes:
    return yaml.dump(dict(content), Dumper=yaml.CSafeDumper, sort_keys=False).encode()


def _write(path: Path, data: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def _answers(url: str, trust: ssl.SSLContext | None) -> bool:
    """Whether a GET, past any proxy, is answered with 200."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if trust is not None:
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
