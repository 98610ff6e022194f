"""The command `tenant-kubeconfig`: makes the operator's kubeconfig from that of a tenant administrator."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from dpunetop import __version__
from dpunetop.app import assets
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.facts import TENANT_ACCOUNT, tenant_grants
from dpunetop.app.commands.flags import CommandParser, UsageError
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.looking import FactGatherer, PreflightClient
from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.base.quoting import quoted
from dpunetop.base.sensitive import Sensitive
from dpunetop.base.stop import Stop
from dpunetop.domain.credential.account import named
from dpunetop.domain.doctor.model import Unseen
from dpunetop.domain.doctor.rights import renamed
from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE
from dpunetop.domain.tenant.addresses import refused_address
from dpunetop.domain.tenant.credentialend import end_of, end_of_authority
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, TenantKubeconfig, document_of, render_kubeconfig
from dpunetop.kube.errors import ApiError, NotFound, Unauthorized
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
)
from dpunetop.kube.meta import Obj, new_object
from dpunetop.kube.shapes import at
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import Connection, StaticToken
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.metrics import Metrics

TOKEN_SECRET = f"{TENANT_ACCOUNT}-token"
FIELD_MANAGER = "dpunetop-tenant-kubeconfig"
_KINDS = {each.kind: each for each in (SERVICEACCOUNTS, ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS)}
_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
_DURATION = re.compile(r"([1-9][0-9]{0,6})(h|m|d)")
_UNITS = {"d": 86400, "h": 3600, "m": 60}
T = TypeVar("T")
_ABOUT = """It writes to the tenant: with --apply the ServiceAccount and rights of deploy/tenant-rights.yaml, and in any
case a token of that ServiceAccount. By default that is of a Secret in the tenant, and lasts until the Secret is
deleted; with --duration it ends by itself, and has to be made anew and stored again before."""


class TokenClient(PreflightClient, Protocol):
    """The requests to a tenant; see `Client`."""

    def apply(self, resource: Resource, body: Obj, field_manager: str) -> Obj:
        """See `Client.apply`."""

    def create_sub(self, resource: Resource, namespace: str, name: str, sub: str, obj: Obj) -> Obj:
        """See `Client.create_sub`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The kubeconfig to make."""

    namespace: str
    """Of OVN-Kubernetes in the tenant."""
    applies: bool
    seconds: int | None
    """The lifetime of the token; None: that of its Secret."""


def tenant_kubeconfig(arguments: Sequence[str]) -> int:
    """Make the kubeconfig; 0: made, with all permissions; 1: made without some of them, or the tenant refused."""
    return invoke(parser(), arguments, _body)


def parser() -> CommandParser:
    """The flags and arguments of the command."""
    made = CommandParser("tenant-kubeconfig", "Make the kubeconfig that the operator is given for a tenant.", _ABOUT)
    made.add_argument("--file", default="tenant.kubeconfig", help="is made, with mode 0600; default %(default)s")
    made.add_argument("--apply", action="store_true", help="apply deploy/tenant-rights.yaml first")
    made.add_argument("--duration", metavar="8760h", help="let the token end after that; the tenant may cut it short")
    made.add_argument("--server", metavar="URL", help="of the tenant, as infra reaches it; default: as given")
    made.add_argument(
        "--tenant-namespace",
        default=OVN_KUBERNETES_NAMESPACE,
        help="of OVN-Kubernetes in the tenant; default %(default)s",
    )
    made.add_argument(
        "--secret", default=assets.SAMPLE_SECRET, help="in infra, which holds it later; default %(default)s"
    )
    return made


def _body(invocation: Invocation) -> Exit:
    given = invocation.given
    path = invocation.flags.tenants.for_all
    if path is None:
        raise UsageError("give the kubeconfig of an administrator of the tenant: --tenant-kubeconfig PATH")
    wanted = Wanted(given.tenant_namespace, given.apply, _seconds(given.duration))
    connection = infra_connection(path)
    stop = Stop(invocation.clock)
    try:
        return _make(invocation, _ClientFactory(connection, invocation.clock, stop), wanted)
    except ApiError as err:
        invocation.out.line(f"nothing was made: the tenant did not carry out a request: {err}")
        return Exit.WRONG
    finally:
        stop.set()


def _seconds(duration: str | None) -> int | None:
    if duration is None:
        return None
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise UsageError(f"--duration: {quoted(duration)} is no duration such as 8760h or 365d")
    return int(match.group(1)) * _UNITS[match.group(2)]


class _ClientFactory:
    """Opens clients of the tenant: as its administrator, and with the new token."""

    def __init__(self, connection: Connection, clock: Clock, stop: Stop) -> None:
        self.connection = connection
        self.clock = clock
        self._stop = stop

    def administrator(self) -> Client:
        """Whoever calls."""
        return self._client(self.connection)

    def bearer(self, token: Sensitive) -> Client:
        """A client with the token over the administrator's connection settings."""
        known = self.connection
        return self._client(Connection(known.url, known.ca_pem, StaticToken(token), known.tls_server_name))

    def _client(self, connection: Connection) -> Client:
        metrics = Metrics().client(urlsplit(connection.url).netloc)
        agent = f"dpunetop-cli/{__version__}"
        transport = Transport(connection, self._stop, user_agent=agent, metrics=metrics, clock=self.clock)
        return Client(transport, clock=self.clock, metrics=metrics, name="tenant")


def _make(invocation: Invocation, maker: _ClientFactory, wanted: Wanted) -> Exit:
    path, out = Path(invocation.given.file), invocation.out
    descriptor = new_file(path)  # first, so that no token is made in vain
    try:
        token = token_of(maker.administrator(), wanted, maker.clock)
        made = kubeconfig(maker.connection, invocation.given.server, token)
        with os.fdopen(descriptor, "wb") as file:
            file.write(render_kubeconfig(made))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    out.line(f"made {path} (mode 0600): ServiceAccount {wanted.namespace}/{TENANT_ACCOUNT} at {made.server}")
    out.line(_lasting(made, wanted, invocation.given.file))
    for line in warnings(made):
        out.line(line)
    lacking = lacking_rights(maker.bearer(token), wanted.namespace, maker.clock)
    if lacking:
        out.line(f"it {lacking}; add --apply, or have deploy/tenant-rights.yaml applied")
    out.line("Store it in infra, then remove the file, which is as good as a password:")
    home = invocation.flags.namespace or assets.SAMPLE_NAMESPACE
    out.exact(f"  {store_command(path, home, invocation.given.secret)}")
    return Exit.WRONG if lacking else Exit.GOOD


def store_command(path: Path, namespace: str, secret: str) -> str:
    """The command that stores the kubeconfig in infra."""
    source = shlex.quote(f"config={path}")
    return f"kubectl create secret generic {secret} --from-file={source} --namespace {namespace}"


def _lasting(made: TenantKubeconfig, wanted: Wanted, file: str) -> str:
    if wanted.seconds is None:
        secret, trust = f"Secret {wanted.namespace}/{TOKEN_SECRET}", end_of_authority(made.ca_pem)
        known = "" if trust is None else f"; what it knows the server by ends on {trust.text}"
        return f"its token lasts until {secret} of the tenant is deleted, which is also how it is revoked{known}"
    end = end_of(made)
    until = end.text if end is not None else "an unknown time"
    again = f"make another with the same command and another --file than {file}, and replace the Secret in infra"
    return f"its token ends on {until}; before that, {again}: no pod restarts"


def warnings(made: TenantKubeconfig) -> list[str]:
    """The operator's objections to the kubeconfig that the tenant does not raise."""
    why = refused_address(made.host, ())
    if why is None or why == "not an address":
        return []
    return [f"the operator does not connect to {made.host} ({why}) unless --tenant-allowed-cidrs of its names it"]


# --- the token --------------------------------------------------------------------------------------------------------


def token_of(tenant: TokenClient, wanted: Wanted, clock: Clock) -> Sensitive:
    """A token of the operator's ServiceAccount. Raises: ApiError; UsageError if the account does not exist."""
    if wanted.applies:
        for obj in renamed(assets.tenant_manifests(), {OVN_KUBERNETES_NAMESPACE: wanted.namespace}):
            tenant.apply(_KINDS[obj["kind"]], obj, FIELD_MANAGER)
    try:
        tenant.get(SERVICEACCOUNTS, wanted.namespace, TENANT_ACCOUNT)
    except NotFound:
        missing = f"the tenant has no ServiceAccount {wanted.namespace}/{TENANT_ACCOUNT}"
        raise UsageError(f"{missing}; add --apply, or have deploy/tenant-rights.yaml applied") from None
    if wanted.seconds is None:
        return _stored_token(tenant, wanted.namespace, clock)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    spec = {"spec": {"expirationSeconds": wanted.seconds}}
    answer = tenant.create_sub(SERVICEACCOUNTS, wanted.namespace, TENANT_ACCOUNT, "token", {**request, **spec})
    token = at(answer, "status", "token")
    if not isinstance(token, str) or not token:
        raise UsageError("the tenant's answer to a TokenRequest holds no token")
    return Sensitive(token)


def _stored_token(tenant: TokenClient, namespace: str, clock: Clock) -> Sensitive:
    """The token of a Secret that a controller of the tenant fills; an existing Secret is left unchanged."""
    secret = new_object(SECRETS, namespace, TOKEN_SECRET, type="kubernetes.io/service-account-token")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": TENANT_ACCOUNT}
    tenant.apply(SECRETS, secret, FIELD_MANAGER)

    def look() -> Sensitive | None:
        stored = at(tenant.get(SECRETS, namespace, TOKEN_SECRET), "data", "token")
        with suppress(binascii.Error, UnicodeDecodeError):
            return Sensitive(base64.b64decode(stored).decode("ascii")) if isinstance(stored, str) and stored else None
        return None

    found = _patiently(look, clock)
    if found is None:
        place = f"Secret {namespace}/{TOKEN_SECRET}"
        raise UsageError(f"no controller of the tenant puts a token into {place}; use --duration 8760h instead")
    return found


def _patiently(look: Callable[[], T | None], clock: Clock) -> T | None:
    until, pause = clock.monotonic() + _PATIENCE_SECONDS, Stop(clock)
    while (found := look()) is None and clock.monotonic() < until:
        pause.wait(_PAUSE_SECONDS)
    return found


# --- the kubeconfig ---------------------------------------------------------------------------------------------------


def kubeconfig(connection: Connection, server: str | None, token: Sensitive) -> TenantKubeconfig:
    """A kubeconfig with the administrator's connection settings and the token.

    Guarantees: the operator's own parser accepts it. Raises: UsageError.
    """
    if connection.ca_pem is None:
        raise UsageError("--tenant-kubeconfig has no certificate-authority-data, which the operator needs; add it")
    user = {"token": token.reveal()}
    document = document_of(server or connection.url, connection.ca_pem, connection.tls_server_name or None, user)
    try:
        return parse_kubeconfig(jsonio.dumps(document))
    except KubeconfigRejected as err:
        raise UsageError(f"the operator would not take the kubeconfig: {err.message}") from None


def lacking_rights(tenant: PreflightClient, namespace: str, clock: Clock) -> str:
    """Try the new credential: which permissions of deploy/tenant-rights.yaml it lacks; empty: none."""

    def met() -> FactGatherer | None:
        gatherer = FactGatherer(tenant, "tenant")
        with suppress(Unauthorized):  # the tenant may take a moment to know a new token
            gatherer.meet()
            return gatherer
        return None

    gatherer = _patiently(met, clock)
    if gatherer is None:
        return "is not accepted by the tenant"
    wanted = [right for given in tenant_grants(namespace) for right in given.rights]
    gatherer.ask_rights(("", right) for right in wanted)
    answers = gatherer.seen().rights
    lacking = [right for right in wanted if answers["", right] is False]
    unknown = next((each for each in answers.values() if isinstance(each, Unseen)), None)
    if lacking:
        return f"may not {named(lacking)}"
    return f"could not be tried: {unknown.why}" if unknown is not None else ""


def new_file(path: Path) -> int:
    """Create a new file with mode 0600. Raises: UsageError if it exists."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists, and is not overwritten; give another --file") from None
    except OSError as err:
        raise UsageError(f"{path} cannot be made: {err.strerror}") from None
