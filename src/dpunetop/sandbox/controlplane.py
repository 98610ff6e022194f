"""Real control planes on loopback: etcd and kube-apiserver, optionally controller manager and scheduler."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dpunetop.kube.errors import ApiError
from dpunetop.sandbox import binaries
from dpunetop.sandbox.admin import AdminClient, Credential, Obj
from dpunetop.sandbox.auditlog import AuditLog
from dpunetop.sandbox.components import WITH_CONTROLLERS, Component, Spec
from dpunetop.sandbox.controlplanerun import (
    ControlPlaneRun,
    StartFailed,
    certificate_user,
    kubeconfig,
    write_private,
    yaml_of,
)
from dpunetop.sandbox.lifecycle import Lifecycle
from dpunetop.sandbox.processes import Process, ReaperError


class ControlPlane(Lifecycle):
    """One control plane: a context manager, or `start` and `stop`.

    Guarantees: when `start` returns, the API server is ready, default ServiceAccounts exist if there is a controller
        manager, and the scheduler has synced its caches. Data, ports and credentials survive `restart` and `kill` of a
        component. After `stop`, or after any end of this process, no process and no file is left.
    Threads: any, but `start`, `restart`, `kill`, `pause` and `resume` of one component by one thread at a time. `stop`
        may be called while another thread is in `start`, which then fails.
    """

    def __init__(self, spec: Spec, programs: binaries.Binaries | None = None) -> None:
        self.spec = spec
        self._programs = programs
        self._abandoned = threading.Event()
        self._run: ControlPlaneRun | None = None

    def __repr__(self) -> str:
        return f"<ControlPlane {self.spec.name} {self.url if self._run else 'not started'}>"

    def close(self) -> None:
        """See `stop`."""
        self.stop()

    def start(self) -> None:
        """Start all components and wait until they are ready.

        Raises: StartFailed; BinariesNotFound. The components that had started are then stopped.
        """
        programs = self._programs or binaries.find()
        self._run = ControlPlaneRun(self.spec, programs, self._abandoned)
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

    # --- properties -------------------------------------------------------------------------------------------------

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
        """A client with the rights of cluster-admin."""
        return self._started.admin

    @property
    def admin_kubeconfig(self) -> Path:
        """A kubeconfig file with the rights of cluster-admin."""
        return self._started.admin_kubeconfig

    # --- credentials ------------------------------------------------------------------------------------------------

    def client(self, token: str | None) -> AdminClient:
        """A client for a bearer token, or an anonymous one; the caller closes it."""
        return AdminClient(self.url, self._started.ca_file, Credential(token=token))

    def token_kubeconfig(self, token: str, *, url: str | None = None, namespace: str | None = None) -> Obj:
        """A kubeconfig for a bearer token; `url` is another address of the server, such as a proxy."""
        return kubeconfig(self.spec.name, url or self.url, self.ca_pem, {"token": token}, namespace)

    def certificate_kubeconfig(self, user: str, groups: Sequence[str] = (), *, url: str | None = None) -> Obj:
        """A kubeconfig with a new client certificate of that user in those groups."""
        pair = self._started.authority.client(user, groups)
        return kubeconfig(self.spec.name, url or self.url, self.ca_pem, certificate_user(pair))

    def service_account_token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A new token of an existing ServiceAccount (TokenRequest; at least 600 s)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.admin.create(path, {"spec": {"expirationSeconds": seconds}})
        return str(answer["status"]["token"])

    def write_kubeconfig(self, content: Mapping[str, Any], name: str) -> Path:
        """Put a kubeconfig into the run folder, readable by this user only."""
        return write_private(self.folder / f"{name}.kubeconfig", yaml_of(content))

    # --- use --------------------------------------------------------------------------------------------------------

    def apply(self, manifests: str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[Obj]:
        """See `AdminClient.apply`."""
        return self.admin.apply(manifests)

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 60.0) -> str:
        """Run kubectl as admin; returns its output. Raises: CalledProcessError with its stderr; TimeoutExpired."""
        return self._started.kubectl(arguments, stdin, timeout)

    def audit_mark(self) -> int:
        """The current end of the audit log, for `audit_events`."""
        return self.audit_log.end()

    def audit_events(self, *, user: str | None = None, verb: str | None = None, since: int = 0) -> list[Obj]:
        """The complete audit events since a mark, filtered by user name and verb."""
        return list(self.audit_log.events(since, user, verb))

    @property
    def audit_log(self) -> AuditLog:
        """The audit log of the API server."""
        return AuditLog(self._started.audit_log)

    # --- faults -----------------------------------------------------------------------------------------------------

    def restart(self, component: Component, flags: Sequence[str] = ()) -> None:
        """End a component (SIGTERM, after 2 s SIGKILL), start it with more flags, and wait until it is ready."""
        self._started.end(component, signal.SIGTERM)
        self._started.start_component(component, tuple(flags))

    def kill(self, component: Component) -> None:
        """Send SIGKILL and wait for the end; `restart` starts it again."""
        self._started.end(component, signal.SIGKILL)

    def pause(self, component: Component) -> None:
        """SIGSTOP, until all of it has stopped: connections stay open and silent."""
        self._started.process(component).pause()

    def resume(self, component: Component) -> None:
        """SIGCONT."""
        self._started.process(component).resume()

    def back_up(self) -> None:
        """Back up the data of etcd for `set_back`, in place of an earlier backup; etcd restarts meanwhile."""
        self._started.back_up()

    def set_back(self) -> None:
        """Stop everything, restore the data of etcd from `back_up`, start everything. The restore bumps no revision, so
        resourceVersions since the backup are given out a second time."""
        self._started.set_back()

    def process(self, component: Component) -> Process:
        """The process of a component."""
        return self._started.process(component)

    @property
    def _started(self) -> ControlPlaneRun:
        if self._run is None:
            raise RuntimeError(f"control plane {self.spec.name} is not started")
        return self._run


class ControlPlanePair(Lifecycle):
    """The infra and the tenant cluster, started at the same time."""

    def __init__(self, infra: Spec | None = None, tenant: Spec | None = None) -> None:
        self.infra = ControlPlane(infra or Spec("infra"))
        self.tenant = ControlPlane(tenant or Spec("tenant", WITH_CONTROLLERS))

    def close(self) -> None:
        """See `stop`."""
        self.stop()

    def start(self) -> None:
        """Start both; if one fails, both are stopped. Raises: as `ControlPlane.start`."""
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
