"""The raw limit of a drain: the calls that the operator made, one after the other, from a client that only sends them.

What was asked is asked again where it is. What was written is written again in objects of the same kind and size that
belong to nobody: other names, in a namespace of their own, and with the marks of another owner.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.writes import seconds
from dpunetop.domain.names import NODEMAINTENANCES, OWNER_LABEL, PODDISRUPTIONBUDGETS, blocker_name, maintenance_name
from dpunetop.kube.keys import CLUSTERROLEBINDINGS, DEPLOYMENTS, NAMESPACES, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, is_terminating, labels_of, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.controlplane import ControlPlane
from support.drains import Drains
from support.trial import eventually

_SECONDS = 60.0
_TRIES = 10
_NAME = "bench-raw"
_APART = ("events", "leases", "dpunodes", "dpuclusterconfigs", "selfsubjectaccessreviews", "tokenreviews")
"""What others of the process ask meanwhile, and no step of a drain waits for."""
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}


@dataclass(frozen=True)
class Call:
    """One call of the operator that the server has taken."""

    cluster: str
    verb: str
    uri: str
    body: Any
    received: float
    answered: float

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.verb not in ("get", "list") and "dryRun=" not in self.uri


def calls(cluster: str, events: Iterable[Obj]) -> list[Call]:
    """The operator's calls in an audit log that keeps what is sent, but for those that no step of a drain waits for."""
    return [_call(cluster, event) for event in events if _counts(event)]


def _counts(event: Obj) -> bool:
    is_taken = (event.get("responseStatus") or {}).get("code", 500) < 300 or event["verb"] == "get"
    is_ours = str(event.get("userAgent", "")).startswith("dpunetop/")
    plural = (event.get("objectRef") or {}).get("resource", "")
    return is_taken and is_ours and event["verb"] in _METHODS and plural not in (*_APART, "")


def _call(cluster: str, event: Obj) -> Call:
    times = seconds(event["requestReceivedTimestamp"]), seconds(event["stageTimestamp"])
    return Call(cluster, event["verb"], event["requestURI"], event.get("requestObject"), *times)


def between(found: Sequence[Call], begin: float, end: float) -> list[Call]:
    """What was asked from a fact to the answer of the write that ends the step, in that order."""
    within = [call for call in found if call.received >= begin and call.answered <= end]
    return sorted(within, key=lambda call: call.received)


class Names:
    """Which names stand for which in what is written again."""

    def __init__(self, others: Mapping[str, str]) -> None:
        self._others = dict(others)
        longest_first = sorted(map(re.escape, others), key=len, reverse=True)
        self._pattern = re.compile("|".join(longest_first))

    def of(self, call: Call) -> Call:
        """The same call about what belongs to nobody; one that only asks stays as it is."""
        if not call.is_write:
            return call
        body = None if call.body is None else json.loads(self.text(json.dumps(call.body)))
        return Call(call.cluster, call.verb, self.text(call.uri), body, call.received, call.answered)

    def text(self, text: str) -> str:
        """`text` with the other names in it."""
        return self._pattern.sub(lambda found: self._others[found[0]], text)


class _Changed(Exception):
    """What a write names is not what is there any more."""


class Server:
    """One kept connection to an API server. Threads: one."""

    def __init__(self, url: str, ca_pem: bytes, token: str) -> None:
        address = urlsplit(url)
        trust = ssl.create_default_context(cadata=ca_pem.decode())
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "bench-raw"}
        self._connection = http.client.HTTPSConnection(
            str(address.hostname), address.port, timeout=_SECONDS, context=trust
        )
        self._connection.connect()

    def send(self, call: Call) -> Obj:
        """What the server answers. Raises: _Changed, the object is another than the write says; RuntimeError, it is
        refused otherwise."""
        body = None if call.body is None else json.dumps(call.body)
        self._connection.request(_METHODS[call.verb], call.uri, body, {**self._headers, "Content-Type": _type(call)})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status == 409 and call.is_write:
            raise _Changed
        if answer.status >= 300 and call.is_write:
            raise RuntimeError(f"{call.verb} {call.uri}: {answer.status} {content[:300].decode(errors='replace')}")
        return dict(json.loads(content)) if answer.status < 300 else {}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def replay(servers: Mapping[str, Server], row: Sequence[Call]) -> float:
    """Send all of a row, one after the other; the seconds that it took. What a write must name of its object is read
    before, and again if a controller has changed the object meanwhile. Raises: RuntimeError."""
    return sum(_timed(servers[call.cluster], call) for call in row)


def _timed(server: Server, call: Call) -> float:
    for _ in range(_TRIES):
        current = _current(server, call)
        begun = time.monotonic()
        with contextlib.suppress(_Changed):
            server.send(current)
            return time.monotonic() - begun
    raise RuntimeError(f"{call.verb} {call.uri}: the object was changed {_TRIES} times in the middle of it")


def _current(server: Server, call: Call) -> Call:
    named = _named(call.body)
    if not call.is_write or not named.keys() & {"uid", "resourceVersion"} or named.get("resourceVersion") == "1":
        return call
    path = urlsplit(call.uri).path
    live = server.send(Call(call.cluster, "get", path, None, 0.0, 0.0)).get("metadata") or {}
    named.update({key: live[key] for key in ("uid", "resourceVersion") if key in named and key in live})
    return call


def _named(body: Any) -> dict[str, Any]:
    """Where a body names the object that it means, itself, to be changed in place."""
    if not isinstance(body, dict):
        return {}
    found = body.get("preconditions" if "preconditions" in body else "metadata") or {}
    assert isinstance(found, dict)
    return found


class RawDrain:
    """The raw client of a DPU's drains, with objects of its own for what is written. Threads: one."""

    def __init__(self, drains: Drains) -> None:
        """Makes those objects: a Node in each cluster, a blocker without pods, and its budget."""
        [(dpu, host)] = drains.pairs.items()
        self._tenant, self._host = drains.trial.world.tenant.admin, f"{host}-{_NAME}"
        self._names = _names(drains, dpu, host)
        world = drains.trial.world
        world.infra.apply([new_object(NAMESPACES, "", _NAME), seed.dpu_node(f"{dpu}-{_NAME}")])
        world.tenant.apply([new_object(NAMESPACES, "", _NAME), seed.host_node(self._host)])
        for resource in (DEPLOYMENTS, PODDISRUPTIONBUDGETS):
            path = get(resource, drains.operator_namespace, blocker_name(dpu)).target
            world.infra.apply(self._copy(world.infra.admin.get(path)))
        self._servers = {"infra": _server(world.infra), "tenant": _server(world.tenant)}

    def replay(self, row: Sequence[Call]) -> float:
        """Send these calls, one after the other; the seconds that they took. Raises: RuntimeError, one is refused."""
        took = replay(self._servers, [self._names.of(call) for call in row])
        eventually(self._maintenance, lambda found: not found or _is_done(found))
        return took

    def close(self) -> None:
        """Close the connections; the objects go with their clusters."""
        for server in self._servers.values():
            server.close()

    def _maintenance(self) -> Obj:
        return self._tenant.get_or_empty(get(NODEMAINTENANCES, "", maintenance_name(self._host)).target)

    def _copy(self, obj: Obj) -> Obj:
        metadata = {key: obj["metadata"].get(key) or {} for key in ("labels", "annotations")}
        named = {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"], **metadata}
        spec = {**obj["spec"], **({"replicas": 0} if "replicas" in obj["spec"] else {})}
        bare = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": named, "spec": spec}
        return dict(json.loads(self._names.text(json.dumps(bare))))


def _names(drains: Drains, dpu: str, host: str) -> Names:
    budget, config = drains.budget(dpu), drains.trial.config()
    operator = drains.operator_namespace
    return Names(
        {
            dpu: f"{dpu}-{_NAME}",
            host: f"{host}-{_NAME}",
            uid_of(config): str(uuid.uuid5(uuid.UUID(uid_of(config)), _NAME)),
            labels_of(budget)[OWNER_LABEL]: f"{_NAME:0<32}",
            f"namespaces/{operator}/": f"namespaces/{_NAME}/",
            f'"namespace": "{operator}"': f'"namespace": "{_NAME}"',
        }
    )


def _is_done(maintenance: Obj) -> bool:
    return (maintenance.get("status") or {}).get("phase") == "Succeeded" and not is_terminating(maintenance)


def _server(plane: ControlPlane) -> Server:
    """Somebody who may do everything, by the same authenticator and authorizer as the operator."""
    account = new_object(SERVICEACCOUNTS, _NAME, _NAME)
    binding = new_object(CLUSTERROLEBINDINGS, "", _NAME)
    binding["subjects"] = [{"kind": "ServiceAccount", "namespace": _NAME, "name": _NAME}]
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    plane.apply([account, binding])
    return Server(plane.url, plane.ca_pem, plane.service_account_token(_NAME, _NAME))


def _type(call: Call) -> str:
    if call.verb != "patch":
        return "application/json"
    query = parse_qs(urlsplit(call.uri).query)
    is_apply = "force" in query
    return "application/apply-patch+yaml" if is_apply else "application/merge-patch+json"
