"""The installed operator's settings, read from its Deployment, since a look must use the same ones."""

from __future__ import annotations

from collections.abc import Mapping

from dpunetop.app.settings import Settings, SettingsError, parse_settings
from dpunetop.controllers.reconciler import Installation
from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE
from dpunetop.kube.keys import DEPLOYMENTS, INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings
from dpunetop.runtime.reading import NotSynced, Reader

DEPLOYMENT = "dpunetop"
_CONTAINER = 0


def installed_settings(reader: Reader, namespace: str) -> Settings | None:
    """The settings of the operator installed there; None: none is installed, or they cannot be read."""
    try:
        deployment = reader.one(INFRA, DEPLOYMENTS, namespace, DEPLOYMENT)
    except NotSynced:
        return None
    containers = mappings(at(deployment or {}, "spec", "template", "spec", "containers"))
    return _settings(containers[_CONTAINER], namespace) if containers else None


def installation_of(settings: Settings | None, namespace: str) -> Installation:
    """The `Installation` for the controllers; without settings the defaults apply."""
    if settings is None:
        return Installation(None, OVN_KUBERNETES_NAMESPACE, None, namespace)
    return Installation(
        settings.watch_namespaces,
        settings.tenant_namespace,
        settings.ovnkube_image,
        namespace,
        settings.allowed_images,
    )


def _settings(container: Mapping[str, object] | Obj, namespace: str) -> Settings | None:
    arguments = container.get("args")
    given = [str(each) for each in arguments] if isinstance(arguments, list) else []
    named = {str(each.get("name")): str(each.get("value") or "") for each in mappings(container.get("env"))}
    try:
        return parse_settings([each for each in given if each != "run"], {**named, "NAMESPACE": namespace})
    except SettingsError:
        return None
