"""Shipped text files: scripts and manifests, read once at the start and passed on as data.

Each file has its own type, so that editors, linters and tests treat it as such.
"""

from functools import cache
from importlib.resources import files

import yaml

from dpunetop.domain.hostconfig.ignition import DropIn, File, Unit
from dpunetop.domain.hostconfig.machineconfig import HostAssets
from dpunetop.domain.ovnkube.central import OvnkubeScripts
from dpunetop.domain.ovnkube.interconnect import InterconnectScripts
from dpunetop.domain.ovnkube.pod import ContainerScripts
from dpunetop.kube.meta import Obj

SAMPLE_NAMESPACE, SAMPLE_SECRET = "tenant-cluster-1", "tenant-cluster-1-kubeconf"
"""The parameters of config/tenant-namespace, as its rendered form has them."""

_PLAIN = 0o644
_EXECUTABLE = 0o755

_FILES = (
    ("/etc/udev/rules.d/82-net-setup-link.rules", _PLAIN),
    ("/etc/udev/vf-net-link-name.sh", _EXECUTABLE),
    ("/usr/local/bin/common-dpu.sh", _EXECUTABLE),
    ("/usr/local/bin/configure-switchdev.sh", _EXECUTABLE),
    ("/usr/local/bin/ovs-add-pf.sh", _EXECUTABLE),
)
_UNITS = ("switchdev-configuration.service",)
_DROP_INS = (
    ("NetworkManager.service", "10-switchdev.conf"),
    ("ovs-configuration.service", "10-dpu-pfrep.conf"),
    ("ovs-vswitchd.service", "10-hw-offload.conf"),
)


def host_assets() -> HostAssets:
    """Scripts, udev rules and units of a DPU's operating system, as shipped with this version."""
    return HostAssets(
        files=tuple(File(path, mode, _host_text(path.rpartition("/")[2])) for path, mode in _FILES),
        units=tuple(Unit(name, _host_text(name)) for name in _UNITS)
        + tuple(Unit(name, drop_ins=(DropIn(part, _host_text(part)),)) for name, part in _DROP_INS),
    )


def ovnkube_scripts() -> OvnkubeScripts:
    """Entry and probe scripts of the pods that run for a central tenant, as shipped with this version."""
    return OvnkubeScripts(_scripts("ovnkube/ovn-controller"), _scripts("ovnkube/ovnkube-node", "ovnkube/ovnkube.sh"))


def interconnect_scripts() -> InterconnectScripts:
    """Entry and probe scripts of the pods that run for an interconnect tenant, as shipped with this version."""
    return InterconnectScripts(
        database=_scripts("ovnkube-ic/database"),
        northd=_scripts("ovnkube-ic/northd"),
        # The probe asks for the connection in the same way, wherever the database is.
        ovn_controller=ContainerScripts(_entry("ovnkube-ic/ovn-controller.sh"), _probe("ovnkube/ovn-controller")),
        ovn_acl_logging=ContainerScripts(_entry("ovnkube-ic/ovn-acl-logging.sh"), ""),
        ovnkube_controller=_scripts("ovnkube-ic/ovnkube-controller", "ovnkube/ovnkube.sh"),
    )


def _scripts(container: str, *shared: str) -> ContainerScripts:
    return ContainerScripts(_entry(*shared, f"{container}.sh"), _probe(container))


def _entry(*parts: str) -> str:
    return "\n".join(map(_text, ("ovnkube/entry.sh", *parts)))


def _probe(container: str) -> str:
    return "\n".join(map(_text, ("ovnkube/probe.sh", f"{container}-probe.sh")))


def _text(path: str) -> str:
    return files(__name__).joinpath(*path.split("/")).read_text(encoding="utf-8")


def _host_text(name: str) -> str:
    return _text(f"host/{name}")


def operator_manifests() -> tuple[Obj, ...]:
    """Kind, rights and Deployment of the operator, as deploy/dpunetop.yaml has them."""
    return _objects("dpunetop.yaml")


def namespace_manifests() -> tuple[Obj, ...]:
    """The Role and RoleBinding of a served namespace, for `SAMPLE_NAMESPACE` and its Secret `SAMPLE_SECRET`."""
    return _objects("tenant-namespace.yaml")


def tenant_manifests() -> tuple[Obj, ...]:
    """The operator's ServiceAccount in a tenant and its permissions, as deploy/tenant-rights.yaml has them."""
    return _objects("tenant-rights.yaml")


@cache
def _objects(name: str) -> tuple[Obj, ...]:
    return tuple(yaml.load_all(_text(f"manifests/{name}"), Loader=yaml.CSafeLoader))
