"""Whether what the operator itself works with in infra ends: what `doctor` says of it, for a look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from dpunetop.app.commands.unlooked import next_step
from dpunetop.domain.doctor.cluster import OPERATOR_DEPLOYMENT
from dpunetop.domain.doctor.credentials import judge_own, serving_secret
from dpunetop.domain.doctor.model import NOT_ASKED, ClusterFacts, Diagnosis, Facts, Place, Unseen
from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE
from dpunetop.kube.keys import DEPLOYMENTS, INFRA, SECRETS, Resource
from dpunetop.kube.meta import Obj
from dpunetop.runtime.reading import NotSynced, Reader


def own_ends(reader: Reader, now: datetime, namespace: str) -> tuple[Diagnosis, ...]:
    """What `doctor` finds of the operator's own credentials, and of the certificate that its metrics are served with.

    Guarantees: what may not be read is told as not looked at. `namespace` is the operator's.
    """
    found: dict[Place, Obj | Unseen | None] = {}

    def look(resource: Resource, name: str) -> Obj | None:
        found[Place(resource, namespace, name)] = seen = _read(lambda: reader.one(INFRA, resource, namespace, name))
        return None if isinstance(seen, Unseen) else seen

    if serving := serving_secret(look(DEPLOYMENTS, OPERATOR_DEPLOYMENT)):
        look(SECRETS, serving)
    infra = ClusterFacts(INFRA, NOT_ASKED, objects=found)
    judged: Iterable[Diagnosis] = judge_own(
        Facts(infra, NOT_ASKED, now, namespace, OVN_KUBERNETES_NAMESPACE, definitions=())
    )
    return tuple(judged)


def _read(read: Callable[[], Obj | None]) -> Obj | Unseen | None:
    try:
        return read()
    except NotSynced as err:
        return Unseen(str(err.error or err), next_step(err.error) if err.error is not None else "look again")
