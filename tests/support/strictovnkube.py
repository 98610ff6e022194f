"""An `ovnkube` of a chosen release for tests of shell text: takes what that release takes, and refuses what it refuses.

Run as a program by `main`, which takes OPTIONS ROOT ARGUMENT…: a recorded list of `data/ovnkube-options`, and the
folder that it takes for `/`. What would run for ever ends with 0; what it was called with is appended to the file
`$RECORD`. It is never kinder than the real one: where releases differ, each gets the stricter rule.

Source: each rule names the file of github.com/ovn-kubernetes/ovn-kubernetes, below `go-controller`, that it comes from,
at 8871cd9cec9c45d6da1baf9e3b06eb575f49039c, or at v1.3.0 for what is gone there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # it is started a thousand times in a run of the tests, and imports are what takes time
    from collections.abc import Callable, Iterable, Mapping

HEALTH_PORT = "egressip-node-healthcheck-port"
TRUE, FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class Exit(Exception):
    """It ends with this code, after these words."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.words, self.code = words, code


class Release:
    """The options of one release."""

    def __init__(self, recorded: str) -> None:
        lines = (line.split() for line in recorded.splitlines())
        self.options = {words[0].removeprefix("--"): len(words) > 1 for words in lines}
        """Name to whether it takes a value."""

    def knows(self, name: str) -> bool:
        return name in self.options

    def help(self) -> str:
        """A line for each option, with `value` if it takes one, then words, which name options of other releases too.

        Source: cmd/ovnkube/ovnkube.go (CustomAppHelpTemplate); such words are in the real text.
        """
        words = "valid only with --init-master option, or if the --zone, --nb-address, and --nothing are given"
        lines = (f"   --{name}{' value' if valued else ''}    {words}" for name, valued in self.options.items())
        return "\n".join(("NAME:", "   ovnkube - run ovnkube", "GLOBAL OPTIONS:", *lines, ""))


def parse(release: Release, arguments: list[str]) -> dict[str, str]:
    """The options, the last of each.

    What follows the first word that is no option is lost without a word, as in the real one.
    Source: Go's package flag (parseOne), which vendor/github.com/urfave/cli/v2 (parse.go) uses.
    """
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, has_value, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name[0] in "-=":
            raise Exit(f"bad flag syntax: {word}")
        if name in ("h", "help"):
            raise Exit(release.help(), 0)
        if not release.knows(name):
            raise Exit(f"flag provided but not defined: -{name}")
        found[name] = _value_of(release, name, value if has_value else None, rest)
    return found


def _value_of(release: Release, name: str, value: str | None, rest: list[str]) -> str:
    if release.options[name]:
        if value is None and not rest:
            raise Exit(f"flag needs an argument: -{name}")
        return rest.pop(0) if value is None else value
    if value is not None and value not in TRUE + FALSE:
        raise Exit(f'invalid boolean value "{value}" for -{name}: parse error')
    return "false" if value in FALSE else "true"


class Settings:
    """What one call comes to: options over the configuration file, as pkg/config/config.go (overrideFields) has it."""

    def __init__(self, release: Release, root: str, given: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.release, self.root, self.given, self.environment = release, root, given, environment
        self.file: dict[tuple[str, str], str] = {}

    def get(self, option: str, section: str = "", key: str = "", default: str = "") -> str:
        return self.given.get(option) or self.file.get((section, key or option)) or default

    def is_on(self, option: str, section: str = "ovnkubernetesfeature", key: str = "") -> bool:
        return self.get(option, section, key) in TRUE

    def number(self, option: str, section: str, key: str = "", default: int = 0) -> int:
        text = self.get(option, section, key, str(default))
        try:
            return int(text)
        except ValueError:
            raise Exit(f'invalid value "{text}" for flag -{option}: parse error') from None

    def exists(self, path: str) -> bool:
        return os.path.exists(self.root + path)


def text_of(path: str) -> str:
    """The text of a file."""
    with open(path) as file:
        return file.read()


def read_file(settings: Settings) -> None:
    """pkg/config/config.go, initConfigWithPath: a file that was named must be there; unknown keys are no error."""
    path = settings.given.get("config-file", "")
    if not path:
        return
    if not settings.exists(path):
        raise Exit(f"failed to open config file {path}: open {path}: no such file or directory")
    section = ""
    for line in text_of(settings.root + path).splitlines():
        key, is_pair, value = line.strip().partition("=")
        if line.startswith("["):
            section = line.strip("[] ")
        elif is_pair:
            settings.file[section, key.strip()] = value.strip(' "')


def kubernetes(settings: Settings) -> None:
    """pkg/config/config.go, buildKubernetesConfig."""
    path = settings.get("k8s-kubeconfig", "kubernetes", "kubeconfig", settings.environment.get("KUBECONFIG", ""))
    if path and not settings.exists(path):
        raise Exit(f'kubernetes kubeconfig file "{path}" not found')
    if not path:
        # pkg/util/kube.go, newKubernetesRestConfig: without one it talks to whatever the flags, else the pod, name.
        raise Exit("TLS-secured apiservers require token/cert and CA certificate")


def features(settings: Settings) -> None:
    """pkg/config/config.go, buildOVNKubernetesFeatureConfig."""
    mode = settings.get("advertised-udn-isolation-mode", "ovnkubernetesfeature", default="strict")
    if mode not in ("strict", "loose"):
        raise Exit(f'invalid advertised-udn-isolation-mode "{mode}": expect one of strict or loose')
    if settings.is_on("enable-evpn") and not settings.is_on("enable-route-advertisements"):
        raise Exit(
            "invalid feature configuration: EVPN requires route advertisements but route advertisements are disabled"
        )
    if settings.is_on("enable-dynamic-udn-allocation") and not settings.is_on("enable-network-segmentation"):
        raise Exit("the Dynamic UDN Allocation feature cannot be enabled without also enabling Network Segmentation")


def gateway(settings: Settings) -> None:
    """pkg/config/config.go, buildGatewayConfig."""
    mode = settings.get("gateway-mode", "gateway", "mode")
    interface = settings.get("gateway-interface", "gateway", "interface")
    hop = settings.get("gateway-nexthop", "gateway", "next-hop")
    vlan = settings.number("gateway-vlanid", "gateway", "vlan-id")
    if mode not in ("", "shared", "local"):
        raise Exit(f'invalid gateway mode "{mode}": expect one of shared,local')
    if not mode and interface:
        raise Exit(f'gateway interface option "{interface}" not allowed when gateway is disabled')
    if not mode and hop:
        raise Exit(f'gateway next-hop option "{hop}" not allowed when gateway is disabled')
    if mode != "shared" and vlan:
        raise Exit(f"gateway VLAN ID option: {vlan} is supported only in shared gateway mode")


def node(settings: Settings) -> None:
    """pkg/config/config.go, buildOvnKubeNodeConfig."""
    mode = settings.get("ovnkube-node-mode", "ovnkubenode", "mode", "full")
    if mode != "dpu":
        # Where another mode is right, this stub is not: on a DPU it would take the host's network apart.
        raise Exit(f"unexpected ovnkube-node-mode: {mode}. supported modes: [full dpu dpu-host]")
    if settings.is_on("enable-hybrid-overlay", "hybridoverlay", "enabled"):
        raise Exit("hybrid overlay is not supported with ovnkube-node mode dpu")
    every = settings.number("dpu-node-lease-renew-interval", "ovnkubenode", default=10)
    lasts = settings.number("dpu-node-lease-duration", "ovnkubenode", default=40)
    if every < 0:
        raise Exit(f"invalid dpu-node-lease-renew-interval '{every}'. must be >= 0")
    if lasts <= 0:
        raise Exit(f"invalid dpu-node-lease-duration '{lasts}'. must be > 0")
    if lasts <= every:
        raise Exit(f"invalid dpu-node-lease-duration '{lasts}'. must be > dpu-node-lease-renew-interval '{every}'")
    start = settings.number("routing-table-id-start", "ovnkubenode", default=1000)
    if not 1000 <= start < 2**31:
        raise Exit(f"invalid routing-table-id-start '{start}'. must be >= 1000")
    management_port(settings)


def management_port(settings: Settings) -> None:
    """pkg/config/config.go, buildOvnKubeNodeConfig: refused since c2bcf8baa of 2023-05-15, and wanted before it.

    It is told by an option that came two months before that (28929bb09): what is between them counts as new.
    """
    netdev, resource = "ovnkube-node-mgmt-port-netdev", "ovnkube-node-mgmt-port-dp-resource-name"
    given = any(settings.get(name, "ovnkubenode", name.removeprefix("ovnkube-node-")) for name in (netdev, resource))
    if given and settings.release.knows(resource):
        raise Exit(f"{netdev} or {resource} must not be provided")
    if not given and not settings.release.knows(resource):
        raise Exit(f"{netdev} must be provided")


def databases(settings: Settings) -> None:
    """pkg/config/config.go at v1.3.0, buildOvnAuth, parseAddress and SetDBAuth; later there are sockets only."""
    for side in ("nb", "sb") if settings.release.knows("nb-address") else ():
        address = settings.get(f"{side}-address")
        files = [settings.get(f"{side}-client-{kind}") for kind in ("privkey", "cert", "cacert")]
        schemes = {part.partition(":")[0] for part in address.split(",")}
        if address and (len(schemes) > 1 or not schemes <= {"ssl", "tcp", "unix"}):
            raise Exit(f"invalid protocols in OVN address {address}")
        if schemes != {"ssl"} and any(files):
            raise Exit("certificate or key given; perhaps you mean to use the 'ssl' scheme?")
        if schemes == {"ssl"} and not (all(files) and settings.get(f"{side}-cert-common-name")):
            raise Exit(
                "must specify private key, certificate, CA certificate, and common name used in the certificate"
                " for 'ssl' scheme"
            )
        for path in filter(None, files):
            if not settings.exists(path):
                raise Exit(f"private key file {path} not found")


def run_mode(settings: Settings) -> None:
    """cmd/ovnkube/ovnkube.go, determineOvnkubeRunMode; a DPU always has a node."""
    if not settings.get("init-node"):
        raise Exit("need to specify a mode for ovnkube")
    if settings.get("init-ovnkube-controller", default=settings.get("init-node")) != settings.get("init-node"):
        raise Exit("provided no identity or different identities for different modes")


def token(settings: Settings) -> None:
    """cmd/ovnkube/ovnkube.go, runOvnKube: of the node's token it looks at the text alone, not at a file of one."""
    if not settings.get("k8s-token", "kubernetes", "token", settings.environment.get("K8S_TOKEN", "")):
        raise Exit(
            "failed to run ovnkube: cannot initialize node without service account 'token'."
            " Please provide one with --k8s-token argument"
        )


def zone(settings: Settings) -> None:
    """pkg/controllermanager/controller_manager.go at v1.3.0: the zone must be the one that the database is named by."""
    wanted = settings.get("init-ovnkube-controller")
    has = settings.get("zone", "default", default="global")
    if wanted and settings.release.knows("zone") and has != wanted:
        raise Exit(f"failed to start network controller: config zone {has} different from NBDB zone {wanted}")


def tunnels(settings: Settings) -> None:
    """pkg/node/default_node_network_controller.go, setupOVNNode and validateEncapIP.

    Without an address it takes that of the tenant's host; the start script of upstream ends then, for mode dpu.
    """
    said = settings.get("encap-ip", "default")
    if not said:
        raise Exit('ovn encap IP must be provided if "ovnkube-node-mode" set to "dpu". Exiting...')
    for address in said.split(","):
        if address.strip() not in settings.environment.get("STUB_ADDRESSES", "").split():
            raise Exit(f"failed to start node network controller: invalid encap IP {address}: does not exist")


def health(settings: Settings) -> None:
    """pkg/ovn/healthcheck/egressip_healthcheck.go: listens at the address of the management port, which is the host's
    alone in mode dpu; fatal, which is exit code 255."""
    port = settings.number(HEALTH_PORT, "ovnkubernetesfeature")
    if port and settings.is_on("enable-egress-ip"):
        raise Exit(f"Health checking listen failed: listen tcp 10.128.0.2:{port}: cannot assign requested address", 255)


CHECKS: tuple[Callable[[Settings], None], ...] = (
    read_file,
    kubernetes,
    features,
    gateway,
    node,
    databases,
    run_mode,
    token,
    zone,
    tunnels,
    health,
)
"""In the order in which the real one comes to them."""


def check(release: Release, root: str, arguments: list[str], environment: Mapping[str, str]) -> Settings:
    """Parse and check one call. Raises: Exit."""
    settings = Settings(release, root, parse(release, arguments), environment)
    for rule in CHECKS:
        rule(settings)
    return settings


def record(path: str, arguments: Iterable[str], environment: Mapping[str, str]) -> None:
    """Leave behind what it was called with, as the other stubs do."""
    with open(path, "a") as file:
        file.write("\t".join(("ovnkube", *arguments)) + "\n")
    with open(f"{path}.env.ovnkube", "w") as file:
        file.writelines(f"{key}={value}\n" for key, value in sorted(environment.items()))


def main(options: str, root: str, *arguments: str) -> int:
    """The program."""
    try:
        check(Release(text_of(options)), root, list(arguments), os.environ)
    except Exit as end:
        (sys.stderr if end.code else sys.stdout).write(f"{end.words}\n")
        return end.code
    record(os.environ["RECORD"], arguments, os.environ)
    return 0
