"""A real node maintenance operator beside the tenant's control plane, with its webhook."""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

from dpunetop.kube.keys import NAMESPACES
from dpunetop.kube.meta import new_object
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.lifecycle import Lifecycle
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.processes import Process, RunFolder, minimal_environment
from dpunetop.sandbox.realneighbours.program import Program, Unavailable

LEASES_NAMESPACE = "medik8s-leases"

# No option changes these two. Source: node-maintenance-operator at 3a54cd15, cmd/main.go, and controller-runtime's
# defaults for webhooks: this port, and certificates in this folder below the one of temporary files.
_WEBHOOK_PORT = 9443
_CERTIFICATES = "k8s-webhook-server/serving-certs"
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.1


class NodeMaintenanceNeighbour(Lifecycle):
    """The operator as a process, in place of the stand-in: see `World`.

    Guarantees: after `close`, or the end of this process, it is gone. `stop` and `start` may alternate.
    Threads: one.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._folder = RunFolder("nmo")
        self._authority = Authority("webhook")
        self._process: Process | None = None
        self.log = self._folder.path / "nmo.log"

    def install(self, tenant: ControlPlane) -> None:
        """Create its CRDs, its webhook and the namespace that it requires. Raises: ApiError."""
        self._tenant = tenant
        tenant.apply(self.program.objects("CustomResourceDefinition"))
        tenant.apply(new_object(NAMESPACES, "", LEASES_NAMESPACE))
        webhooks = self.program.objects("ValidatingWebhookConfiguration")
        tenant.apply(reachable(each, self._authority.pem) for each in webhooks)

    def start(self) -> None:
        """Start it, and wait until its webhook answers. Raises: Unavailable."""
        if _is_taken(_WEBHOOK_PORT):
            raise Unavailable(f"port {_WEBHOOK_PORT} of its webhook is in use; end the process that listens there")
        certificates = self._folder.path / _CERTIFICATES
        certificates.mkdir(parents=True, exist_ok=True)
        pair = self._authority.serving(("localhost",), (_LOOPBACK,))
        (certificates / "tls.crt").write_bytes(pair.certificate)
        (certificates / "tls.key").write_bytes(pair.key)
        argv = [str(self.program.path), f"--kubeconfig={self._tenant.admin_kubeconfig}"]
        argv += ["--metrics-bind-address=0", "--health-probe-bind-address=0", "--zap-time-encoding=iso8601"]
        env = {**minimal_environment(), "TMPDIR": str(self._folder.path), "LEASE_NAMESPACE": LEASES_NAMESPACE}
        self._process = self._folder.reaper.spawn(argv, self.log, env)
        self._wait(self._process)

    def stop(self) -> None:
        """Stop it with its webhook; its CRDs and objects stay."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            self._process.wait(_START_SECONDS)

    def close(self) -> None:
        """Stop it and remove its log; may be called again."""
        self._folder.close()

    def log_text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _wait(self, process: Process) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_taken(_WEBHOOK_PORT):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"{self.program.path} did not come up: {self.log_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)


def reachable(configuration: Obj, authority: bytes) -> Obj:
    """The same webhooks, at the port where the program listens here, with that CA."""
    return {**configuration, "webhooks": list(_webhooks(configuration, authority))}


def _webhooks(configuration: Obj, authority: bytes) -> Iterator[dict[str, Any]]:
    bundle = base64.b64encode(authority).decode()
    for webhook in configuration["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        yield {**webhook, "clientConfig": {"url": f"https://{_LOOPBACK}:{_WEBHOOK_PORT}{path}", "caBundle": bundle}}


def _is_taken(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), timeout=1.0):
        return True
    return False
