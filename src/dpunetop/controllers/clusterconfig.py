"""The DpuClusterConfig itself: its finalizer, its summary, and its end in order."""

from __future__ import annotations

from collections.abc import Callable

from dpunetop.controllers.admissions import Admissions
from dpunetop.controllers.flow import SERVED, WAITING, ConfigController, Installation, blindness, one
from dpunetop.domain import names
from dpunetop.domain.credential import minted_in
from dpunetop.domain.drain.facts import Budget, budget, maintenance
from dpunetop.domain.drain.roster import runs_on
from dpunetop.domain.lifecycle import RIGHTS_SECONDS, ConfigView, Leftovers, OutOfSight, plan_config
from dpunetop.domain.status import CREDENTIALS_VALID, READY, TENANT_REACHABLE
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    NODES,
    PODS,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Key,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj, labels_of, name_of
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader


class ClusterConfig(ConfigController[ConfigView]):
    """Sees to finalizer, `Ready` and teardown."""

    name = "clusterconfig"
    condition = READY

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        admissions: Admissions | None = None,
        again_seconds: Callable[[], float] = lambda: RIGHTS_SECONDS,
    ) -> None:
        """`again_seconds` says when those that are not served are looked at again."""
        super().__init__(installation, executor)
        self._admissions = admissions or Admissions(lambda _: None, installation.has_rights, lambda _: None)
        self._again_seconds = again_seconds

    def judge_new(self, reader: Reader, obj: Obj) -> DpuClusterConfig:
        """See `ConfigController.judge_new`."""
        return self._admissions.judge(obj, _Shown(reader, self.installation))

    def serves(self, config: DpuClusterConfig) -> bool:
        """Every one: somebody has to say why one is refused, and to take down one that is deleted."""
        return True

    def gather(self, reader: Reader, config: DpuClusterConfig) -> ConfigView:
        """See `ConfigController.gather`; what teardown has to remove is read only then."""
        leftovers = self._leftovers(reader, config) if config.terminating and config.was_served else None
        return ConfigView(config, leftovers, self.manager, self._again_seconds())

    def plan(self, view: ConfigView) -> Plan:
        """See `ConfigController.plan`."""
        return plan_config(view)

    def _leftovers(self, reader: Reader, config: DpuClusterConfig) -> Leftovers:
        owner = self.owner(reader, config)
        namespace = config.namespace

        def ours(resource: Resource, name: str, namespace: str = namespace) -> Obj | None:
            obj = reader.get(INFRA, one(resource, namespace, name), namespace, name)
            return obj if obj is not None and labels_of(obj).get(names.OWNER_LABEL) == owner else None

        served = self._host_configuration_is_served(reader)
        kubeconfig = ours(SECRETS, names.TENANT_KUBECONFIG)
        return Leftovers(
            pool=ours(names.MACHINECONFIGPOOLS, config.pool_name, "") if served else None,
            machine_config=ours(names.MACHINECONFIGS, names.machine_config_name(config.pool_name), "")
            if served
            else None,
            nodes=tuple(reader.list(INFRA, Selection(NODES))),
            running=tuple(runs_on(self._budgets(reader, owner))),
            daemonset=ours(DAEMONSETS, names.OVNKUBE_NODE),
            pods=tuple(reader.list(INFRA, Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE})))),
            protections=self._protections(reader, owner),
            maintenances=self._maintenances(reader, config, owner),
            blocker_account=ours(SERVICEACCOUNTS, names.DRAIN_BLOCKER, self.installation.namespace),
            copies=tuple(
                (resource, obj)
                for resource, name in (
                    (SECRETS, names.OVN_CERT),
                    (SECRETS, names.TENANT_CREDENTIAL),
                    (CONFIGMAPS, names.OVN_CA),
                    (CONFIGMAPS, names.OVNKUBE_CONFIG),
                    (CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES),
                )
                if (obj := ours(resource, name)) is not None
            ),
            service_account=ours(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT),
            tenant=self._in_tenant(reader, config, kubeconfig, owner),
            kubeconfig=kubeconfig,
        )

    def _budgets(self, reader: Reader, owner: str) -> list[Budget]:
        found = reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, self.installation.namespace))
        return [read for obj in found if (read := budget(obj, owner)).ours]

    def _protections(self, reader: Reader, owner: str) -> tuple[str, ...]:
        blockers = reader.list(INFRA, Selection(DEPLOYMENTS, self.installation.namespace))
        ours = (obj for obj in blockers if labels_of(obj).get(names.OWNER_LABEL) == owner)
        budgets = (read.live for read in self._budgets(reader, owner))
        return tuple(sorted({name_of(obj) for obj in (*ours, *budgets)}))

    def _maintenances(self, reader: Reader, config: DpuClusterConfig, owner: str) -> tuple[str, ...]:
        """What drains have left; a tenant that is out of sight holds nothing up, since no drain runs any more."""
        cluster, crd = config.tenant_cluster, crd_name(names.NODEMAINTENANCES)
        try:
            if reader.get(cluster, one(CUSTOMRESOURCEDEFINITIONS, "", crd), "", crd) is None:
                return ()
            found = reader.list(cluster, Selection(names.NODEMAINTENANCES))
        except (NotEngaged, NotSynced):
            return ()
        return tuple(sorted(read.host for obj in found if (read := maintenance(obj, owner)).ours))

    def _in_tenant(
        self, reader: Reader, config: DpuClusterConfig, kubeconfig: Obj | None, owner: str
    ) -> tuple[tuple[Resource, Obj], ...] | OutOfSight:
        """What we made there, as far as a note says that we did and nobody has forced the end."""
        accounts = minted_in(kubeconfig) if kubeconfig is not None else ()
        if not accounts or names.FORCE_DELETE_ANNOTATION in config.annotations:
            return ()
        if silence := _silence(config):
            return OutOfSight(silence)
        places = [(ROLEBINDINGS, namespace, name) for namespace, name in accounts]
        places += [(CLUSTERROLEBINDINGS, "", name) for name in dict.fromkeys(name for _, name in accounts)]
        places += [(SERVICEACCOUNTS, namespace, name) for namespace, name in accounts]
        try:
            found = [(place[0], self._of_tenant(reader, config, *place)) for place in places]
        except (NotEngaged, NotSynced) as err:
            return OutOfSight(blindness(config, err))
        return tuple(
            (resource, obj)
            for resource, obj in found
            if obj is not None and labels_of(obj).get(names.OWNER_LABEL) == owner
        )

    def _of_tenant(
        self, reader: Reader, config: DpuClusterConfig, resource: Resource, namespace: str, name: str
    ) -> Obj | None:
        return reader.get(config.tenant_cluster, one(resource, namespace, name), namespace, name)

    def _host_configuration_is_served(self, reader: Reader) -> bool:
        crd = crd_name(names.MACHINECONFIGPOOLS)
        return reader.get(INFRA, one(CUSTOMRESOURCEDEFINITIONS, "", crd), "", crd) is not None


class _Shown:
    """See `admissions.Shown`. Without interest in what changes: `ConfigSource` wakes who waits."""

    def __init__(self, reader: Reader, installation: Installation) -> None:
        self._listers = [reader.unwoken(INFRA, each) for each in installation.selections()]

    def one(self, key: Key) -> Obj | None:
        """See `admissions.Shown.one`."""
        found = (lister.get(key.namespace, key.name) for lister in self._listers)
        return next((obj for obj in found if obj is not None), None)

    def served(self, claim: str) -> list[Obj]:
        """See `admissions.Shown.served`."""
        return self._found(SERVED, claim)

    def waiting(self, claim: str) -> list[Obj]:
        """See `admissions.Shown.waiting`."""
        return self._found(WAITING, claim)

    def _found(self, index: str, value: str) -> list[Obj]:
        return [obj for lister in self._listers for obj in lister.by_index(index, value)]


def _silence(config: DpuClusterConfig) -> str | None:
    """Why the tenant is not worth asking, as `TenantLink` says it; only what it says for certain."""
    reachable, valid = (condition_of(config.live, type_) or {} for type_ in (TENANT_REACHABLE, CREDENTIALS_VALID))
    if reachable.get("status") != "True" and reachable.get("reason"):
        return f"{reachable['reason']}: {reachable['message']}"
    return valid["message"] if reachable.get("reason") == "Answered" else None
