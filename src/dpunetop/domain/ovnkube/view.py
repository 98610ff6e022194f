"""The facts of the decision about OVN-Kubernetes on the DPUs: objects of both clusters, and the pairs they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dpunetop.domain.clusterconfig.grants import Nodes, Rights, judge_nodes
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, TopologyChoice
from dpunetop.domain.hostconfig.machineconfig import configured_nodes
from dpunetop.domain.hostconfig.plan import dropped_nodes
from dpunetop.domain.ovnkube.central import OvnkubeScripts
from dpunetop.domain.ovnkube.image import AllowedImages
from dpunetop.domain.ovnkube.interconnect import InterconnectScripts
from dpunetop.domain.ovnkube.rollout import RolloutView
from dpunetop.domain.ovnkube.topology import Settled, TopologyFinding, TopologyView, container_names, detect
from dpunetop.domain.pairing.entries import EntriesState, EntriesView, entries_of, serving_nodes
from dpunetop.domain.pairing.envfile import NodeEntry, Wish, nobodys_keys, parse_entries
from dpunetop.domain.pairing.pairing import Claims, Pair, PairingView, pair_up, tenant_nodes
from dpunetop.domain.tenant.addresses import Network
from dpunetop.kube.meta import Obj, name_of


@dataclass(frozen=True, slots=True)
class TenantSigns:
    """The objects of the tenant's own OVN-Kubernetes; a member that is None is known to be absent."""

    node_daemonset: Obj | None
    """DaemonSet `ovnkube-node`."""
    host_daemonset: Obj | None
    """DaemonSet `ovnkube-node-dpu-host`."""
    masters: tuple[Obj, ...]
    control_plane: Obj | None
    script_lib: Obj | None
    config_map: Obj | None
    """ConfigMap `ovnkube-config`."""
    chart_config_map: Obj | None
    """ConfigMap `ovn-config`, read in a tenant that OpenShift does not render."""
    cluster_version: Obj | None

    def topology(self, choice: TopologyChoice) -> TopologyFinding:
        """The topology that these objects show."""
        return detect(
            TopologyView(
                choice=choice,
                node_containers=container_names(self.node_daemonset),
                master_pods=bool(self.masters),
                control_plane=self.control_plane is not None,
                script_lib=self.script_lib is not None,
            )
        )


@dataclass(frozen=True, slots=True)
class InfraObjects:
    """The pods in infra, and the objects that they need."""

    service_account: Obj | None
    daemonset: Obj | None
    entries: Obj | None
    pods: tuple[Obj, ...]
    overrides: Obj | None
    """ConfigMap `env-overrides` of the user."""
    mounted: Mapping[str, Obj | None]
    """Copies and credential, by name, as `copies.as_written`."""
    nodes: tuple[Obj, ...]
    pool: Obj | None
    has_machine_configs: bool
    """Whether infra serves the MachineConfig API."""
    infra_daemonset: Obj | None
    """Infra's own `ovnkube-node`, for its image."""
    refusals: tuple[Obj, ...] = ()
    """Events about pods that could not be made; read only where pods are missing."""


@dataclass(frozen=True, slots=True)
class PodScripts:
    """The constant shell text of the pods, by topology."""

    central: OvnkubeScripts
    interconnect: InterconnectScripts


@dataclass(frozen=True, slots=True)
class OvnKubeView:
    """All that the decision looks at. `tenant` None: it cannot be read, and `blind` says why."""

    config: DpuClusterConfig
    owner: Owner
    tenant_namespace: str
    tenant: TenantSigns | None
    blind: str
    settled: Settled
    """The topology that has been the same for long enough."""
    infra: InfraObjects
    claimed: Claims
    environment_image: str | None
    scripts: PodScripts
    allowed_networks: tuple[Network, ...]
    field_manager: str
    allowed_images: AllowedImages | None = None
    """See `image.ImageView`."""
    rights: Rights = field(default_factory=Rights)
    hosts: Mapping[str, str] | None = None
    """See `pairing.PairingView`."""

    @property
    def judged(self) -> Nodes:
        """The nodes that the selector picks."""
        return judge_nodes(self.config, self.infra.nodes, self.rights)

    def annotations(self) -> Mapping[str, str]:
        """The hosts that the Nodes of DPUs are annotated with, by DPU."""
        return tenant_nodes(self.judged.dpus, self.infra.nodes)

    def wishes(self) -> Mapping[str, Wish]:
        """The entries of the user's `env-overrides`, by DPU."""
        return parse_entries(entries_of(self.infra.overrides))

    def pairs(self) -> Mapping[str, Pair]:
        """The DPUs that are paired, or ought to be, with their hosts."""
        infra, judged = self.infra, self.judged
        known = judged.dpus | serving_nodes(infra.entries, infra.pods)
        return pair_up(
            PairingView(
                wishes=self.wishes(),
                annotations=self.annotations(),
                dropped=frozenset(name_of(node) for node in infra.nodes) - judged.dpus,
                entries={dpu: text for dpu, text in entries_of(infra.entries).items() if dpu in known},
                serves={},
                leaving=frozenset(),
                claimed=self.claimed,
                hosts=self.hosts,
                refused=judged.why_not_paired(),
            )
        )

    def dropped(self) -> list[str]:
        """The DPUs that serve, and that the selector no longer picks."""
        serving = serving_nodes(self.infra.entries, self.infra.pods)
        return dropped_nodes(self.config, self.infra.nodes, serving)

    def entries(self) -> EntriesView:
        """What the entries are judged by."""
        infra = self.infra
        configured = configured_nodes(self.judged.dpus, infra.nodes, infra.pool, infra.has_machine_configs)
        nodes = frozenset(name_of(node) for node in infra.nodes)
        return EntriesView(self.pairs(), infra.entries, configured, infra.pods, nodes)

    def rollout(self, entries: EntriesState) -> RolloutView:
        """What the rollout is judged by, with the judged entries."""
        infra, wishes, pairs = self.infra, self.wishes(), self.pairs()
        has_pairing = infra.overrides is not None or bool(self.annotations())
        unfit = [dpu for dpu, wish in sorted(wishes.items()) if not isinstance(wish, NodeEntry)]
        rejected = [pairs[dpu].problem for dpu in unfit if pairs[dpu].problem]
        ignored = nobodys_keys(entries_of(infra.overrides))
        return RolloutView(
            has_pairing, rejected, ignored, self.dropped(), entries, infra.daemonset, infra.pods, infra.refusals
        )
