"""Stand-in for ovnkube-identity: the admission webhook for the annotations of OVN-Kubernetes on Nodes and Pods.

It decides as the real one (go-controller/pkg/ovnwebhook of ovn-kubernetes: nodeadmission.go, podadmission.go, user.go
and util.go, equal in all rules below at release-1.2, release-1.3 and 8871cd9ce), with the same messages. It denies two
things that the real one allows: writes with a node's own identity, and writes of pod addresses.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, annotations_of, name_of, new_object
from dpunetop.kube.shapes import at
from dpunetop.sandbox.pki import Authority, server_context

WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
)
CHASSIS, ZONE = "k8s.ovn.org/node-chassis-id", "k8s.ovn.org/zone-name"
NODE_KEYS = frozenset(
    {
        CHASSIS,
        ZONE,
        "k8s.ovn.org/bridge-egress-ips",
        "k8s.ovn.org/gateway-mtu-support",
        "k8s.ovn.org/host-cidrs",
        "k8s.ovn.org/l3-gateway-config",
        "k8s.ovn.org/layer2-topology-version",
        "k8s.ovn.org/node-encap-ips",
        "k8s.ovn.org/node-ingress-snat-exclude-subnets",
        "k8s.ovn.org/node-masquerade-subnet",
        "k8s.ovn.org/node-mgmt-port",
        "k8s.ovn.org/node-mgmt-port-mac-addresses",
        "k8s.ovn.org/node-primary-ifaddr",
        "k8s.ovn.org/primary-dpu-host-addr",
        "k8s.ovn.org/secondary-host-egress-ips",
    }
)
"""nodeadmission.go, commonNodeAnnotationChecks and interconnectNodeAnnotationChecks."""
POD_NETWORKS = "k8s.ovn.org/pod-networks"
CONNECTION_STATUS = "k8s.ovn.org/dpu.connection-status"
POD_KEYS = frozenset({POD_NETWORKS, CONNECTION_STATUS, "k8s.ovn.org/dpu.connection-details"})
"""podadmission.go, interconnectPodAnnotations."""
_POLL_SECONDS = 0.02
"""How soon the server's thread sees that it is to end."""
DPU_ACCOUNT = "ovnkube-node-dpu"


class RuleSet(Enum):
    """The version of the rules."""

    ANY_USER = auto()
    """Each user in `--extra-allowed-user` may change all annotations of DPUs."""
    DPU_BY_NAME = auto()
    """Only such a user that is a ServiceAccount with the name `ovnkube-node-dpu` may change the connection status
    (proposed to upstream as pull request 6560: podadmission.go, dpuPodAnnotations; user.go)."""


class NodeIdentity:
    """The webhook, served with TLS on a port of its own: a context manager.

    Threads: any; `allowed` may be changed at any time.
    """

    def __init__(self, allowed: Collection[str] = (), played: RuleSet = RuleSet.ANY_USER) -> None:
        """`allowed` are the users of `--extra-allowed-user`."""
        self.allowed = set(allowed)
        self._played = played
        self._authority = Authority("ovnkube-identity")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(self, *args))
        context = server_context(self._authority.serving(("localhost",), ("127.0.0.1",)))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="ovnkube-identity"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def configurations(self) -> Iterator[dict[str, Any]]:
        """The webhook configurations: charts/ovnkube-identity/templates/webhook.yaml, with this address."""
        bundle = base64.b64encode(self._authority.pem).decode()
        for kind in ("node", "pod"):
            name = f"ovn-kubernetes-admission-webhook-{kind}"
            rule = {
                "operations": ["UPDATE"],
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "resources": [f"{kind}s/status"],
                "scope": "*",
            }
            webhook = {
                "name": f"{name}.k8s.io",
                "clientConfig": {"url": f"https://localhost:{self._server.server_port}/{kind}", "caBundle": bundle},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "rules": [rule],
            }
            yield new_object(WEBHOOKS, "", name, webhooks=[webhook])

    def judge(self, path: str, request: Mapping[str, Any]) -> str | None:
        """The reason to deny the request of an AdmissionReview; None: it is allowed."""
        user, old, new = str(at(request, "userInfo", "username")), request["oldObject"], request["object"]
        changed = changes(annotations_of(old), annotations_of(new))
        if path == "/node":
            return self._of_node(user, old, new, changed)
        return self._of_pod(user, new, changed)

    def _of_node(self, user: str, old: Obj, new: Obj, changed: frozenset[str]) -> str | None:
        guarded, node = NODE_KEYS & changed, name_of(new)
        if not guarded:
            return None
        if user not in self.allowed:
            keys = _listed(guarded)
            return f'user "{user}" is not allowed to set the following annotations on node: "{node}": {keys}'
        before, after = annotations_of(old), annotations_of(new)
        for key, is_against, why in (
            (CHASSIS, CHASSIS in before, "cannot be changed once set"),
            (ZONE, after.get(ZONE) != node, f"can only be set to {node}, it cannot be removed"),
        ):
            if key in guarded and is_against:
                return f'user: "{user}" is not allowed to set {key} on node "{node}": {key} {why}'
        return None

    def _of_pod(self, user: str, new: Obj, changed: frozenset[str]) -> str | None:
        guarded = POD_KEYS & changed
        if not guarded or (guarded <= self._of_dpus(user) and user in self.allowed):
            return None
        keys = _listed(guarded)
        return f'user "{user}" is not allowed to set the following annotations on pod: "{name_of(new)}": {keys}'

    def _of_dpus(self, user: str) -> frozenset[str]:
        """The annotations of a pod that a named user may change, except its addresses."""
        is_dpu = user.startswith("system:serviceaccount:") and user.split(":")[3:] == [DPU_ACCOUNT]
        if self._played is RuleSet.ANY_USER:
            return POD_KEYS - {POD_NETWORKS}
        return frozenset({CONNECTION_STATUS} if is_dpu else ())


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Annotations that were added, changed or removed (util.go, mapDiff)."""
    return frozenset(key for key in {*before, *after} if before.get(key) != after.get(key))


def _listed(keys: Collection[str]) -> str:
    return f"[{' '.join(sorted(keys))}]"


class _Handler(BaseHTTPRequestHandler):
    """Serves one request per connection, so that no thread waits for a second one."""

    def __init__(self, identity: NodeIdentity, *args: Any) -> None:
        self._identity = identity
        super().__init__(*args)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        path, _, _ = self.path.partition("?")
        denied = self._identity.judge(path, request)
        response: dict[str, Any] = {"uid": request["uid"], "allowed": denied is None}
        if denied is not None:
            # The response of controller-runtime to a validator's error: pkg/webhook/admission/response.go, Denied.
            response["status"] = {"code": 403, "reason": "Forbidden", "message": denied}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
