"""The kinds that a real ovnkube and its cluster manager watch in a tenant, by name, without their schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_CLUSTER, _NAMESPACED = "Cluster", "Namespaced"

# Source: helm/ovn-kubernetes/crds of OVN-Kubernetes, and the projects named by the groups of the rest; at 8871cd9ce.
_KINDS = (
    ("k8s.ovn.org/v1", "adminpolicybasedexternalroutes", "AdminPolicyBasedExternalRoute", _CLUSTER),
    ("k8s.ovn.org/v1", "clusternetworkconnects", "ClusterNetworkConnect", _CLUSTER),
    ("k8s.ovn.org/v1", "clusteruserdefinednetworks", "ClusterUserDefinedNetwork", _CLUSTER),
    ("k8s.ovn.org/v1", "egressfirewalls", "EgressFirewall", _NAMESPACED),
    ("k8s.ovn.org/v1", "egressips", "EgressIP", _CLUSTER),
    ("k8s.ovn.org/v1", "egressqoses", "EgressQoS", _NAMESPACED),
    ("k8s.ovn.org/v1", "egressservices", "EgressService", _NAMESPACED),
    ("k8s.ovn.org/v1", "routeadvertisements", "RouteAdvertisements", _CLUSTER),
    ("k8s.ovn.org/v1", "userdefinednetworks", "UserDefinedNetwork", _NAMESPACED),
    ("k8s.ovn.org/v1", "vteps", "VTEP", _CLUSTER),
    ("k8s.ovn.org/v1alpha1", "networkqoses", "NetworkQoS", _NAMESPACED),
    ("k8s.ovn.org/v1alpha1", "uplinks", "Uplink", _CLUSTER),
    ("k8s.ovn.org/v1alpha1", "uplinkstates", "UplinkState", _CLUSTER),
    ("k8s.cni.cncf.io/v1", "network-attachment-definitions", "NetworkAttachmentDefinition", _NAMESPACED),
    ("k8s.cni.cncf.io/v1alpha1", "ipamclaims", "IPAMClaim", _NAMESPACED),
    ("k8s.cni.cncf.io/v1beta1", "multi-networkpolicies", "MultiNetworkPolicy", _NAMESPACED),
    ("policy.networking.k8s.io/v1alpha1", "adminnetworkpolicies", "AdminNetworkPolicy", _CLUSTER),
    ("policy.networking.k8s.io/v1alpha1", "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy", _CLUSTER),
)


def definitions() -> Iterator[dict[str, Any]]:
    """A CustomResourceDefinition of each kind, whose schema accepts any field."""
    for api_version, plural, kind, scope in _KINDS:
        group, _, version = api_version.partition("/")
        names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            # The API server requires the annotation for groups of the Kubernetes project.
            "metadata": {
                "name": f"{plural}.{group}",
                "annotations": {"api-approved.kubernetes.io": "unapproved, names alone"},
            },
            "spec": {"group": group, "scope": scope, "names": names, "versions": [_version(version)]},
        }


def _version(name: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "name": name,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
