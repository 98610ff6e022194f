"""Commands over scripted clusters: what a person reads, and the exit code."""

from __future__ import annotations

import io
from typing import Any, cast

from dpunetop.app.commands import explain, status
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import TenantKubeconfigs
from dpunetop.app.commands.inspection import Inspection, Inspector
from dpunetop.app.commands.output import Format, Output
from dpunetop.domain import names
from dpunetop.domain.dpunode.objects import MANAGER
from dpunetop.kube.keys import INFRA, LEASES
from dpunetop.kube.meta import Obj, new_object, owner_reference
from support.objects import condition
from support.scripteddrain import DPU, OPERATOR, TENANT, World

NO_TENANT = TenantKubeconfigs(None, {})
GIVEN = TenantKubeconfigs("tenant.yaml", {})


def inspector_of(world: World, *, tenant: bool = True) -> Inspector:
    """What inspects the clusters, with or without a kubeconfig of the tenant; where the operator is nobody tells it."""
    clients = {INFRA: world.infra, **({TENANT: world.tenant} if tenant else {})}
    return Inspector(cast(Any, clients), world.clock, None)


def see(world: World, *, tenant: bool = True) -> Inspection:
    """One look at all of it."""
    return inspector_of(world, tenant=tenant).inspect()


def status_of(world: World, *, tenant: bool = True, form: Format = Format.TABLE) -> tuple[str, Exit]:
    """What `status` prints, and its exit code."""
    inspection, stream = see(world, tenant=tenant), io.StringIO()
    status.show(Output(stream, form, False, False), inspection, world.clock.now())
    return stream.getvalue(), status.exit_of(inspection)


def explained(world: World, node: str, *, tenant: bool = True) -> tuple[str, Exit]:
    """What `explain` prints, and its exit code."""
    inspector, stream = inspector_of(world, tenant=tenant), io.StringIO()
    inspection = inspector.inspect()
    stories = explain.tell(inspector, inspection, node, GIVEN if tenant else NO_TENANT)
    explain.show(Output(stream, Format.TABLE, False, False), inspection, node, stories, world.clock.now())
    return stream.getvalue(), explain.verdict(inspection, stories)


def say(world: World, *conditions: Obj) -> None:
    """The operator has written these conditions."""
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, "dpu-one", "sample")
    kept = {each["type"]: each for each in live["status"].get("conditions", [])}
    merged = [*(kept | {each["type"]: dict(each) for each in conditions}).values()]
    world.infra.put(names.DPUCLUSTERCONFIGS, {**live, "status": {**live["status"], "conditions": merged}})


def lead(world: World, renewed: str, seconds: int = 15) -> None:
    """An operator has renewed its Lease then."""
    metadata = {"name": names.OPERATOR_LEASE, "namespace": OPERATOR, "uid": "lease"}
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": seconds, "renewTime": renewed}
    world.infra.put(LEASES, {"metadata": metadata, "spec": spec})


def write(world: World, dpu: str = DPU, **status: Any) -> None:
    """The operator has written this of a DPU."""
    owner = world.infra.shown(names.DPUCLUSTERCONFIGS, "dpu-one", "sample")
    obj = new_object(names.DPUNODES, "dpu-one", dpu)
    obj["metadata"] |= {
        "labels": {names.OWNER_LABEL: "hash"},
        "ownerReferences": [owner_reference(names.DPUCLUSTERCONFIGS, owner)],
        "managedFields": [{"manager": MANAGER}],
    }
    world.infra.put(names.DPUNODES, {**obj, "status": status})


READY = condition("Ready", "True", "AllReady", "1 DPU serves its host")


def serving() -> World:
    """One pair that serves, with its pod, and an operator at work."""
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.settle()
    say(world, READY)
    lead(world, "2026-01-01T00:00:00.000000Z")
    world.infra.writes.clear()
    world.tenant.writes.clear()
    return world
