"""The DpuClusterConfig itself: its finalizer, its summary, and its end in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from dpunetop.controllers.admissions import Admissions
from dpunetop.controllers.reconciler import SERVED, WAITING, ConfigReconciler, Installation, blindness
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.lifecycle import RIGHTS_SECONDS, ConfigView, Leftovers, TenantUnreadable, plan_config
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.credential.account import Account, account_for
from dpunetop.domain.credential.facts import minted_in
from dpunetop.domain.drain.fleet.roster import served_hosts
from dpunetop.domain.drain.model.facts import Budget
from dpunetop.domain.drain.model.readers import budget, maintenance
from dpunetop.domain.pairing.entries import entries_of
from dpunetop.domain.reasons import READY
from dpunetop.domain.tenant.visibility import Invisible, Unread, visibility
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
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
)
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader


class ClusterConfig(ConfigReconciler[ConfigView]):
    """Manages finalizer, `Ready` and teardown."""

    name = "clusterconfig"
    condition = READY

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        admissions: Admissions | None = None,
        again_seconds: Callable[[], float] = lambda: RIGHTS_SECONDS,
        untold: Callable[[str], str] = lambda _: "",
    ) -> None:
        """`again_seconds` gives the pause before one that is not served is looked at again; `untold` why Events in a
        namespace are not written."""
        super().__init__(installation, executor)
        self._untold = untold
        self._admissions = admissions or Admissions(lambda _, __: None, installation.has_rights, lambda _: None)
        self._again_seconds = again_seconds

    def judge_new(self, reader: Reader, obj: Obj) -> DpuClusterConfig:
        """See `ConfigReconciler.judge_new`."""
        return self._admissions.judge(obj, _CachedConfigs(reader, self.installation), reader.waker)

    def serves(self, config: DpuClusterConfig) -> bool:
        """Every DpuClusterConfig: this controller reports why one is refused, and tears down one that is deleted."""
        return True

    def gather(self, reader: Reader, config: DpuClusterConfig) -> ConfigView:
        """See `ConfigReconciler.gather`; the objects to remove are read only during teardown."""
        leftovers = self._leftovers(reader, config) if config.terminating and config.was_served else None
        return ConfigView(config, leftovers, self.manager, self._again_seconds(), self._untold(config.namespace))

    def plan(self, view: ConfigView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_config(view)

    def _leftovers(self, reader: Reader, config: DpuClusterConfig) -> Leftovers:
        """Its objects that still exist. Its namespace is read only where the operator still has rights."""
        owner, access = self.owner(reader, config), self.access(reader, config)
        budgets = self._budgets(reader, owner)
        found = Leftovers(
            owner=owner,
            access=access,
            pool=self._of_pool(reader, owner, names.MACHINECONFIGPOOLS, config.pool_name),
            machine_config=self._of_pool(
                reader, owner, names.MACHINECONFIGS, names.machine_config_name(config.pool_name)
            ),
            nodes=tuple(reader.list(INFRA, Selection(NODES))),
            served=tuple(served_hosts(budgets, {})),
            daemonset=None,
            pods=(),
            protections=self._protections(reader, owner, budgets),
            maintenances=self._maintenances(reader, config, owner),
            blocker_account=_ours(reader, owner, SERVICEACCOUNTS, names.DRAIN_BLOCKER, self.installation.namespace),
            copies=(),
            service_account=None,
            tenant=(),
            kubeconfig=None,
        )
        if access is Access.GIVEN:
            found = _with_namespace(reader, config, owner, found, budgets)
        accounts = minted_in(found.kubeconfig) if found.kubeconfig is not None else ()
        if access is not Access.GIVEN:  # the record of them is out of reach; they have the names that we give them
            accounts = (account_for(self.installation.home(config), None),)
        return replace(found, tenant=self._in_tenant(reader, config, accounts, owner))

    def _of_pool(self, reader: Reader, owner: str, resource: Resource, name: str) -> Obj | None:
        return _ours(reader, owner, resource, name, "") if reader.serves(INFRA, names.MACHINECONFIGPOOLS) else None

    def _budgets(self, reader: Reader, owner: str) -> list[Budget]:
        found = reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, self.installation.namespace))
        return [read for obj in found if (read := budget(obj, owner)).ours]

    def _protections(self, reader: Reader, owner: str, budgets: Iterable[Budget]) -> tuple[str, ...]:
        blockers = reader.list(INFRA, Selection(DEPLOYMENTS, self.installation.namespace))
        ours = (obj for obj in blockers if labels_of(obj).get(names.OWNER_LABEL) == owner)
        return tuple(sorted({name_of(obj) for obj in (*ours, *(read.live for read in budgets))}))

    def _maintenances(self, reader: Reader, config: DpuClusterConfig, owner: str) -> tuple[str, ...]:
        """Hosts with a NodeMaintenance of ours, or with our mark and served by no other DpuClusterConfig. None where
        the tenant cannot be seen: no drain runs there, so nothing has to be waited for."""
        cluster, resource = config.tenant_cluster, names.NODEMAINTENANCES
        try:
            found = reader.list(cluster, Selection(resource)) if reader.serves(cluster, resource) else []
            hosts = reader.list(cluster, Selection(NODES))
        except (NotEngaged, NotSynced):
            return ()
        marked = {name_of(host) for host in hosts if names.CORDONED_BEFORE_ANNOTATION in annotations_of(host)}
        ours = {read.host for obj in found if (read := maintenance(obj, owner)).ours}
        return tuple(sorted(ours | (marked - self._of_siblings(reader, config))))

    def _of_siblings(self, reader: Reader, config: DpuClusterConfig) -> frozenset[str]:
        """Hosts that other DpuClusterConfigs of the same tenant serve."""
        owners = [self.owner(reader, each) for each in self.siblings(reader, config)]
        return frozenset(read.serves for owner in owners for read in self._budgets(reader, owner))

    def _in_tenant(
        self, reader: Reader, config: DpuClusterConfig, accounts: Iterable[Account], owner: str
    ) -> tuple[tuple[Resource, Obj], ...] | TenantUnreadable:
        """Our objects in the tenant with the names of `accounts`; none if the deletion is forced."""
        if not accounts or names.FORCE_DELETE_ANNOTATION in config.annotations:
            return ()
        seen = visibility(config, Unread())
        if isinstance(seen, Invisible):
            return TenantUnreadable(seen.words)
        places = [(ROLEBINDINGS, each.namespace, each.name) for each in accounts]
        places += [(CLUSTERROLEBINDINGS, "", name) for name in dict.fromkeys(each.name for each in accounts)]
        places += [(SERVICEACCOUNTS, each.namespace, each.name) for each in accounts]
        try:
            found = [(place[0], self._of_tenant(reader, config, *place)) for place in places]
        except (NotEngaged, NotSynced) as err:
            return TenantUnreadable(blindness(config, err))
        return tuple(
            (resource, obj)
            for resource, obj in found
            if obj is not None and labels_of(obj).get(names.OWNER_LABEL) == owner
        )

    def _of_tenant(
        self, reader: Reader, config: DpuClusterConfig, resource: Resource, namespace: str, name: str
    ) -> Obj | None:
        return reader.one(config.tenant_cluster, resource, namespace, name)


_COPIES = (
    (SECRETS, names.OVN_CERT),
    (SECRETS, names.TENANT_CREDENTIAL),
    (CONFIGMAPS, names.OVN_CA),
    (CONFIGMAPS, names.OVNKUBE_CONFIG),
    (CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES),
)


def _with_namespace(
    reader: Reader, config: DpuClusterConfig, owner: str, found: Leftovers, budgets: Iterable[Budget]
) -> Leftovers:
    """The same with our objects in the namespace of `config`."""
    namespace = config.namespace
    copies = {(res, name): _ours(reader, owner, res, name, namespace) for res, name in _COPIES}
    entries = entries_of(copies[CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES])
    return replace(
        found,
        served=tuple(served_hosts(budgets, entries)),
        daemonset=_ours(reader, owner, DAEMONSETS, names.OVNKUBE_NODE, namespace),
        pods=tuple(reader.list(INFRA, Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE})))),
        copies=tuple((resource, obj) for (resource, _), obj in copies.items() if obj is not None),
        service_account=_ours(reader, owner, SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT, namespace),
        kubeconfig=_ours(reader, owner, SECRETS, names.TENANT_KUBECONFIG, namespace),
    )


def _ours(reader: Reader, owner: str, resource: Resource, name: str, namespace: str) -> Obj | None:
    """One object of infra, if it bears our label."""
    obj = reader.one(INFRA, resource, namespace, name)
    return obj if obj is not None and labels_of(obj).get(names.OWNER_LABEL) == owner else None


class _CachedConfigs:
    """See `admissions.ConfigLister`. Its reads subscribe to no changes: `ConfigSource` wakes the keys that wait."""

    def __init__(self, reader: Reader, installation: Installation) -> None:
        self._listers = [reader.unwoken(INFRA, each) for each in installation.selections()]

    def one(self, key: Key) -> Obj | None:
        """See `admissions.ConfigLister.one`."""
        found = (lister.get(key.namespace, key.name) for lister in self._listers)
        return next((obj for obj in found if obj is not None), None)

    def served(self, claim: str) -> list[Obj]:
        """See `admissions.ConfigLister.served`."""
        return self._found(SERVED, claim)

    def waiting(self, claim: str) -> list[Obj]:
        """See `admissions.ConfigLister.waiting`."""
        return self._found(WAITING, claim)

    def _found(self, index: str, value: str) -> list[Obj]:
        return [obj for lister in self._listers for obj in lister.by_index(index, value)]
