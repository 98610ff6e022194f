"""Make the bundle for the Operator Lifecycle Manager from the rendered config/: python -m hack.bundle DEPLOY FOLDER

DEPLOY is the folder with `dpunetop.yaml`. Each object of that file is in the ClusterServiceVersion, or beside it in the
bundle, or in LEFT_OUT with the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dpunetop import __version__

ROOT = Path(__file__).parents[2]
NAMESPACE = "openshift-dpu-network-operator"
ACCOUNT = "dpunetop"
CHANNEL = "alpha"

Obj = dict[str, Any]

IN_THE_VERSION = (
    "ClusterRole dpunetop",
    "ClusterRoleBinding dpunetop",
    "Deployment dpunetop",
    "ServiceAccount dpunetop",
)
LEFT_OUT: Mapping[str, str] = {
    f"Namespace {NAMESPACE}": "the annotation operatorframework.io/suggested-namespace-template makes it",
    "NetworkPolicy dpunetop": "no bundle may hold one; config/manager/network_policy.yaml is applied beside it",
}
DESCRIPTION = """\
Runs OVN-Kubernetes on NVIDIA BlueField DPUs across two clusters: the cards are nodes of this cluster, the hosts that
carry them are nodes of a tenant's.

It watches all namespaces and serves those in which an administrator has given it rights
(`config/samples/tenant-namespace` in the repository). Install it in `openshift-dpu-network-operator`: the rights of a
served namespace are bound to its ServiceAccount there.

A bundle cannot give rights in a single other namespace. So three rights that the manifests give in `default` and
`openshift-ovn-kubernetes` alone hold in all namespaces here: to see the DaemonSet `ovnkube-node`, to list the
EndpointSlice `kubernetes`, and to write Events.

Before it is uninstalled, delete each DpuClusterConfig and wait until it is gone: the operator drains the hosts first.
"""


def key(obj: Obj) -> str:
    """The key of an object: kind and name."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def bound_to_the_operator(objects: Iterable[Obj]) -> list[Obj]:
    """The RoleBindings of the operator's ServiceAccount."""
    bindings = [each for each in objects if each["kind"] == "RoleBinding"]
    return [each for each in bindings if each["roleRef"]["kind"] == "Role" and each["subjects"][0]["name"] == ACCOUNT]


def rules(objects: Mapping[str, Obj], bindings: Iterable[Obj]) -> list[Obj]:
    """The rules of the Roles of some bindings, joined."""
    return [rule for each in bindings for rule in objects[f"Role {each['roleRef']['name']}"]["rules"]]


def version(objects: list[Obj], samples: list[Obj]) -> Obj:
    """The ClusterServiceVersion."""
    named = {key(each): each for each in objects}
    bindings = bound_to_the_operator(objects)
    here = [each for each in bindings if each["metadata"]["namespace"] == NAMESPACE]
    elsewhere = [each for each in bindings if each not in here]
    deployment = named["Deployment dpunetop"]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": f"dpunetop.v{__version__}",
            "namespace": "placeholder",
            "annotations": annotated(image, samples, named[f"Namespace {NAMESPACE}"]),
            "labels": {
                "operatorframework.io/arch.amd64": "supported",
                "operatorframework.io/arch.arm64": "supported",
                "operatorframework.io/os.linux": "supported",
            },
        },
        "spec": {
            "displayName": "DPU Network Operator",
            "description": DESCRIPTION,
            "version": __version__,
            "minKubeVersion": "1.27.0",
            "maturity": "alpha",
            "provider": {"name": "dpunetop"},
            "keywords": ["dpu", "bluefield", "ovn-kubernetes"],
            # One operator serves all namespaces, as in the manifests (--watch-namespaces=*).
            "installModes": [
                {"type": "OwnNamespace", "supported": False},
                {"type": "SingleNamespace", "supported": False},
                {"type": "MultiNamespace", "supported": False},
                {"type": "AllNamespaces", "supported": True},
            ],
            "customresourcedefinitions": {"owned": owned(objects)},
            "relatedImages": [{"name": "operator", "image": image}],
            "install": {
                "strategy": "deployment",
                "spec": {
                    "permissions": [{"serviceAccountName": ACCOUNT, "rules": rules(named, here)}],
                    "clusterPermissions": [
                        {
                            "serviceAccountName": ACCOUNT,
                            "rules": named["ClusterRole dpunetop"]["rules"] + rules(named, elsewhere),
                        }
                    ],
                    "deployments": [
                        {
                            "name": deployment["metadata"]["name"],
                            "label": deployment["metadata"]["labels"],
                            "spec": deployment["spec"],
                        }
                    ],
                },
            },
        },
    }


def annotated(image: str, samples: list[Obj], namespace: Obj) -> dict[str, str]:
    """The annotations for catalogues, with the suggested namespace and its labels."""
    template = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": namespace["metadata"]["labels"]},
    }
    return {
        "alm-examples": json.dumps(samples, indent=2),
        "capabilities": "Basic Install",
        "categories": "Networking",
        "containerImage": image,
        "description": "Runs OVN-Kubernetes on BlueField DPUs across two clusters",
        "operatorframework.io/suggested-namespace": NAMESPACE,
        "operatorframework.io/suggested-namespace-template": json.dumps(template),
    }


def owned(objects: Iterable[Obj]) -> list[Obj]:
    """The owned CRDs, with the descriptions of their schemas."""
    return [
        {
            "name": each["metadata"]["name"],
            "kind": each["spec"]["names"]["kind"],
            "version": version["name"],
            "displayName": each["spec"]["names"]["kind"],
            "description": version["schema"]["openAPIV3Schema"]["description"],
        }
        for each in objects
        if each["kind"] == "CustomResourceDefinition"
        for version in each["spec"]["versions"]
        if version["served"]
    ]


def beside(objects: list[Obj]) -> list[Obj]:
    """The objects beside the ClusterServiceVersion; OLM creates them in the operator's namespace."""
    inside = {*IN_THE_VERSION, *LEFT_OUT}
    for binding in bound_to_the_operator(objects):
        inside |= {key(binding), f"Role {binding['roleRef']['name']}"}
    rest = [each for each in objects if key(each) not in inside]
    return [{**each, "metadata": {k: v for k, v in each["metadata"].items() if k != "namespace"}} for each in rest]


def metadata() -> dict[str, str]:
    """The annotations that tell a catalogue the layout of the bundle."""
    return {
        "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
        "operators.operatorframework.io.bundle.manifests.v1": "manifests/",
        "operators.operatorframework.io.bundle.metadata.v1": "metadata/",
        "operators.operatorframework.io.bundle.package.v1": "dpunetop",
        "operators.operatorframework.io.bundle.channels.v1": CHANNEL,
        "operators.operatorframework.io.bundle.channel.default.v1": CHANNEL,
    }


def containerfile() -> str:
    """The image of the bundle: `podman build -f bundle.Dockerfile .` in its folder."""
    labels = "".join(f"LABEL {name}={value}\n" for name, value in metadata().items())
    return f"FROM scratch\n{labels}COPY manifests /manifests/\nCOPY metadata /metadata/\n"


def main(deploy: str, folder: str) -> int:
    """Write the bundle."""
    out, head = Path(folder), "# Made by `make manifests` of what config/ renders to. Change it there.\n"
    objects = [each for each in yaml.safe_load_all(Path(deploy, "dpunetop.yaml").read_text()) if each]
    names = ("dpuclusterconfig", "dpunode")
    samples = [yaml.safe_load((ROOT / "config" / "samples" / f"{name}.yaml").read_text()) for name in names]
    (out / "manifests").mkdir(parents=True)
    (out / "metadata").mkdir()
    for each in [version(objects, samples), *beside(objects)]:
        name = f"{each['metadata']['name']}.{each['kind'].lower()}.yaml"
        (out / "manifests" / name).write_text(head + yaml.safe_dump(each, sort_keys=False, width=120))
    (out / "metadata" / "annotations.yaml").write_text(head + yaml.safe_dump({"annotations": metadata()}, width=120))
    (out / "bundle.Dockerfile").write_text(head + containerfile())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
