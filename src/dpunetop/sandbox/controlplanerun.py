"""One run of a control plane, from start to stop: its files, ports and processes."""

from __future__ import annotations

import base64
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dpunetop.kube.errors import ApiError
from dpunetop.sandbox import binaries
from dpunetop.sandbox.admin import Credential, Obj
from dpunetop.sandbox.administrator import Administrator
from dpunetop.sandbox.components import API_ONLY, LOOPBACK, Component, Flags, Spec, token_file
from dpunetop.sandbox.pki import Authority, KeyPair, signing_key
from dpunetop.sandbox.processes import Port, Process, RunFolder, minimal_environment, reserve_port

_START_SECONDS = 120.0
_TERMINATE_SECONDS = 2.0
_POLL_SECONDS = 0.05
_TAIL_LINES = 30
_LAZY_GO = {"GOGC": "400"}  # by default an API server spends a fifth of its time on garbage collection
_SERVICE_ADDRESS = "10.0.0.1"
_SERVICE_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_MASTERS = "system:masters"


class StartFailed(Exception):
    """A component did not become ready; the text ends with the last lines of its log."""


class ControlPlaneRun:
    """The state of a started `ControlPlane`. Threads and errors: see there."""

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
        self._flags = Flags(spec, self.folder, self._port)
        try:
            self.ca_file = write_private(self.folder / "ca.pem", self.authority.pem)
            self._write_credentials()
        except BaseException:
            self._run_folder.close()
            raise
        self.admin_kubeconfig = self.folder / "admin.kubeconfig"
        credential = Credential(certificate=self.folder / "admin.pem", key=self.folder / "admin.key")
        self.admin = Administrator(self.url, self.ca_file, credential)

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://{LOOPBACK}:{self._port('kube-apiserver')}"

    @property
    def etcd_url(self) -> str:
        """Where etcd listens."""
        return f"http://{LOOPBACK}:{self._port('etcd')}"

    def close(self) -> None:
        """Kill all processes, remove the folder, give the ports back."""
        self.admin.close()
        self._run_folder.close()
        with self._guard:
            for port in self._ports.values():
                port.release()

    # --- start and end of components --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all components and wait until they are ready. Raises: StartFailed; ReaperError."""
        for component in self._spec.components:
            self._launch(component, ())
            if component in API_ONLY:
                self._wait_ready(component)
        for component in self._spec.components:
            self._wait_ready(component)

    def start_component(self, component: Component, flags: tuple[str, ...]) -> None:
        """Start one, with more flags, and wait until it is ready. Raises: as `start`."""
        self._launch(component, flags)
        self._wait_ready(component)

    def end(self, component: Component, number: signal.Signals) -> None:
        """Send the signal, after 2 s SIGKILL, and wait for the end."""
        process = self.process(component)
        process.signal(number)
        process.signal(signal.SIGCONT)  # a stopped process handles no other signal
        if process.wait(_TERMINATE_SECONDS) is None:
            process.signal(signal.SIGKILL)
            process.wait(_TERMINATE_SECONDS)

    def back_up(self) -> None:
        """See `ControlPlane.back_up`."""
        self.end(Component.ETCD, signal.SIGTERM)
        shutil.rmtree(self._backup, ignore_errors=True)
        shutil.copytree(self._data, self._backup)
        self.start_component(Component.ETCD, ())
        self._wait_ready(Component.APISERVER)

    def set_back(self) -> None:
        """See `ControlPlane.set_back`."""
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
        """The process of a component."""
        with self._guard:
            return self._processes[component]

    def _launch(self, component: Component, flags: tuple[str, ...]) -> None:
        if self._abandoned.is_set():
            raise StartFailed(f"{self._spec.name}: stopped while starting")
        argv = [str(self._programs.path(component.value)), *self._flags.of(component), *flags]
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
        return _answers(f"https://{LOOPBACK}:{self._port(component.value)}{path}", trust)

    def _failure(self, component: Component, what: str) -> str:
        return f"{self._spec.name}: {component.value} {what}; the end of its log:\n{self.tail(component, _TAIL_LINES)}"

    # --- files ------------------------------------------------------------------------------------------------------

    def tail(self, component: Component, lines: int) -> str:
        """The last lines of a component's log."""
        log = self._log(component)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def _log(self, component: Component) -> Path:
        return self.folder / f"{component.value}.log"

    def _write_credentials(self) -> None:
        self._write_pair("serving", self.authority.serving(_SERVICE_NAMES, (LOOPBACK, "::1", _SERVICE_ADDRESS)))
        self._write_client("admin", "sandbox-admin")
        self._write_client("kube-controller-manager", "system:kube-controller-manager")
        self._write_client("kube-scheduler", "system:kube-scheduler")
        key = signing_key()
        write_private(self.folder / "sa.pub", key.public)
        write_private(self.folder / "sa.key", key.private)
        write_private(self.folder / "tokens.csv", token_file(self._spec.users).encode())
        write_private(self.folder / "audit-policy.yaml", yaml_of(_AUDIT_POLICY))

    def _write_client(self, name: str, user: str) -> None:
        pair = self.authority.client(user, (_MASTERS,))
        self._write_pair(name, pair)
        content = kubeconfig(self._spec.name, self.url, self.authority.pem, certificate_user(pair))
        write_private(self.folder / f"{name}.kubeconfig", yaml_of(content))

    def _write_pair(self, name: str, pair: KeyPair) -> None:
        write_private(self.folder / f"{name}.pem", pair.certificate)
        write_private(self.folder / f"{name}.key", pair.key)

    def _port(self, name: str) -> int:
        with self._guard:
            if name not in self._ports:
                self._ports[name] = reserve_port()
            return self._ports[name].number

    def kubectl(self, arguments: Sequence[str], stdin: str, timeout: float) -> str:
        """See `ControlPlane.kubectl`."""
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


def certificate_user(pair: KeyPair) -> Obj:
    """The user entry of a kubeconfig with that certificate."""
    return {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def yaml_of(content: Mapping[str, Any]) -> bytes:
    """A document as YAML, in the order of its members."""
    return yaml.dump(dict(content), Dumper=yaml.CSafeDumper, sort_keys=False).encode()


def write_private(path: Path, data: bytes) -> Path:
    """Write a file that only this user may read."""
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def _answers(url: str, trust: ssl.SSLContext | None) -> bool:
    """Whether a GET without a proxy is answered with 200."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if trust is not None:
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


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
