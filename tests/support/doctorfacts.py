"""A preflight's facts in which all is in order, made with few words, and changed by a case."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dpunetop.app import assets
from dpunetop.domain import names
from dpunetop.domain.credential.account import Right
from dpunetop.domain.doctor.cluster import SCC
from dpunetop.domain.doctor.model import ClusterFacts, Diagnosis, Facts, Place, Unseen, examine
from dpunetop.domain.doctor.table import CHECKS
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    SECRETS,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj, new_object
from dpunetop.kube.requests import Selection
from support.kubeconfigs import good_kubeconfig
from support.objects import NAMESPACE, condition, config, node

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
OPERATOR = "openshift-dpu-network-operator"
OVN = names.OVN_KUBERNETES_NAMESPACE
IMAGE = "quay.io/ovn/ovnkube@sha256:" + "a" * 64
