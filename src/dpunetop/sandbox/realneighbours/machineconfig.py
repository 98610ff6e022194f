"""A real machine-config-controller beside infra's control plane: it renders, picks nodes, drains and reports."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
from typing import Any

from dpunetop.kube.keys import NAMESPACES, SECRETS, Resource
from dpunetop.kube.meta import Obj, name_of, new_object
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.lifecycle import Lifecycle
from dpunetop.sandbox.processes import Process, RunFolder, minimal_environment, reserve_port
from dpunetop.sandbox.realneighbours.program import Program, Unavailable

NAMESPACE = "openshift-machine-config-operator"
_NAMESPACES = (NAMESPACE, "openshift-config", "openshift-config-managed", "openshift-machine-api")
_PULL_SECRET = ("openshift-config", "pull-secret")
_RELEASE = "4.99.0"
_ROLES = ("common", "master", "worker")
_VERSION_SECONDS = 30.0
_END_SECONDS = 30.0
_CONFIG = "config.openshift.io"


class MachineConfigNeighbour(Lifecycle):
    """The controller as a process, in place of the stand-in: see `World`. A stand-in plays the daemons.

    Guarantees: after `close`, or the end of this process, it is gone. `stop` and `start` may alternate.
    Threads: one.
    """

    def __init__(self, program: Program) -> None:
        """Raises: Unavailable."""
        self.program = program
        self.version = version_of(program)
        self._folder = RunFolder("mcc")
        self._metrics = reserve_port()
        self._process: Process | None = None
        self.log = self._folder.path / "mcc.log"

    def install(self, infra: ControlPlane) -> None:
        """Create its CRDs, its admission policies and the objects that it requires. Raises: ApiError."""
        self._infra = infra
        infra.apply(self.program.objects("CustomResourceDefinition"))
        infra.apply(new_object(NAMESPACES, "", name) for name in _NAMESPACES)
        objects = presumed(self.version, infra.ca_pem)
        infra.apply(objects)
        for obj in objects:
            if "status" in obj:
                infra.admin.apply_at(f"{infra.admin.path_of(obj)}/status", obj)
        infra.apply(apt_policies(self.program, {obj["kind"] for obj in objects}))

    def start(self) -> None:
        """Start it."""
        templates = self._folder.path / "templates"
        for role in _ROLES:  # the content of OpenShift's node images does not matter here
            (templates / role).mkdir(parents=True, exist_ok=True)
        argv = [str(self.program.path), "start", f"--kubeconfig={self._infra.admin_kubeconfig}"]
        argv += [f"--resourcelock-namespace={NAMESPACE}", f"--payload-version={_RELEASE}", f"--templates={templates}"]
        argv += [f"--metrics-listen-address=127.0.0.1:{self._metrics.number}", "--streams-cache=", "--v=2"]
        self._process = self._folder.reaper.spawn(argv, self.log, minimal_environment())

    def stop(self) -> None:
        """Stop it; it releases its Lease, so that the next one need not wait."""
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
            self._process.wait(_END_SECONDS)

    def close(self) -> None:
        """Stop it and remove its log; may be called again."""
        self._folder.close()
        self._metrics.release()

    def log_text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def apt_policies(program: Program, present: set[str]) -> list[Obj]:
    """Its admission policies, except those with a parameter of a kind behind a feature gate."""
    policies = program.objects("ValidatingAdmissionPolicy")
    kinds = {name_of(each): (each["spec"].get("paramKind") or {}).get("kind") for each in policies}
    apt = {name for name, kind in kinds.items() if kind is None or kind in present}
    bindings = program.objects("ValidatingAdmissionPolicyBinding")
    return [
        *(policy for policy in policies if name_of(policy) in apt),
        *(binding for binding in bindings if binding["spec"]["policyName"] in apt),
    ]


def presumed(version: str, authority: bytes) -> list[Obj]:
    """The objects that OpenShift creates before its machine-config-controller starts; no feature gate, no platform.

    Source: machine-config-operator at 7ff337a4, cmd/machine-config-controller/start.go and pkg/controller/render:
        it exits without a FeatureGate of its release, and renders nothing from a ControllerConfig of another version.
    """
    gates = [{"version": _RELEASE, "enabled": [], "disabled": []}]
    network = {"apiServerURL": "", "apiServerInternalURI": "", "etcdDiscoveryDomain": "", "infrastructureName": ""}
    topology = {"controlPlaneTopology": "HighlyAvailable", "infrastructureTopology": "HighlyAvailable"}
    platform = {"platform": "None", "platformStatus": {"type": "None"}}
    infrastructure = _named("infrastructures", "Infrastructure", status={**network, **topology, **platform})
    dns = _named("dnses", "DNS", spec={"baseDomain": "example.com"})
    pulls = {".dockerconfigjson": base64.b64encode(b'{"auths": {}}').decode()}
    return [
        new_object(SECRETS, *_PULL_SECRET, type="kubernetes.io/dockerconfigjson", data=pulls),
        _named("featuregates", "FeatureGate", status={"featureGates": gates}),
        infrastructure,
        dns,
        _named("schedulers", "Scheduler"),
        _controller_config(version, infrastructure, dns, base64.b64encode(authority).decode()),
    ]


def _named(plural: str, kind: str, **members: Any) -> Obj:
    return new_object(Resource(_CONFIG, "v1", plural, kind, namespaced=False), "", "cluster", **{"spec": {}, **members})


def _controller_config(version: str, infrastructure: Obj, dns: Obj, authority: str) -> Obj:
    spec = {
        "additionalTrustBundle": None,
        "baseOSContainerImage": "",
        "osImageURL": "registry.example/os:1",
        "cloudProviderCAData": None,
        "cloudProviderConfig": "",
        "clusterDNSIP": "172.30.0.10",
        "dns": dns,
        "images": {},
        "infra": infrastructure,
        "ipFamilies": "IPv4",
        "kubeAPIServerServingCAData": authority,
        "network": None,
        "proxy": None,
        "pullSecret": {"namespace": _PULL_SECRET[0], "name": _PULL_SECRET[1]},
        "releaseImage": "",
        "rootCAData": authority,
    }
    kind = Resource(
        "machineconfiguration.openshift.io", "v1", "controllerconfigs", "ControllerConfig", namespaced=False
    )
    obj = new_object(kind, "", "machine-config-controller", spec=spec)
    obj["metadata"]["annotations"] = {
        "machineconfiguration.openshift.io/generated-by-version": version,
        "machineconfiguration.openshift.io/release-image-version": _RELEASE,
    }
    return obj


def version_of(program: Program) -> str:
    """The version that it prints, in the form `<name> <version>-<commit>`. Raises: Unavailable."""
    said = subprocess.run(
        [program.path, "version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
    ).stdout
    found = re.match(r"\S+ (\S*)-[0-9a-f]*$", said.strip())
    if found is None:
        raise Unavailable(f"{program.path} version prints {said[:200]!r}: this is not a machine-config-controller")
    return found[1]
