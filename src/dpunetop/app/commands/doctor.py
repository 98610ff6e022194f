"""The command `doctor`: checks whether both clusters meet the operator's needs, before and after its installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.facts import OPERATOR_ACCOUNT, InfraLook, TenantLook, facts, look_at_infra, look_at_tenant
from dpunetop.app.commands.flags import CommandParser
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.layout import Tone
from dpunetop.app.commands.looking import FactGatherer, PreflightClient
from dpunetop.app.commands.output import Format, Output
from dpunetop.app.commands.unlooked import next_step
from dpunetop.domain.doctor.examine import examine
from dpunetop.domain.doctor.model import ClusterFacts, Diagnosis, Facts, Outcome, Unseen, Verdict
from dpunetop.domain.doctor.table import CHECKS
from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.shapes import at

_ABOUT = """It looks, and writes nothing; some objects are tried as server-side dry runs. It has the rights of the
caller: what may not be looked at is told as not looked at, with exit code 3."""
_TONES = {
    Verdict.OK: Tone.GOOD,
    Verdict.WARN: Tone.WARN,
    Verdict.FAIL: Tone.BAD,
    Verdict.NOT_LOOKED_AT: Tone.WARN,
}
_WITHOUT = Unseen("no kubeconfig of it was given", "add --tenant-kubeconfig PATH")
_EXITS = {
    Verdict.OK: Exit.GOOD,
    Verdict.WARN: Exit.GOOD,
    Verdict.FAIL: Exit.WRONG,
    Verdict.NOT_LOOKED_AT: Exit.UNSEEN,
}
_WIDTH = max(len(verdict.value) for verdict in Verdict)


def doctor(arguments: Sequence[str]) -> int:
    """Check both clusters; 0: all checks pass, 1: a check fails, 3: no check fails, but not all could be made."""
    return invoke(parser(), arguments, _body)


def parser() -> CommandParser:
    """The flags and arguments of the command."""
    made = CommandParser("doctor", "Whether both clusters are as the operator needs them.", _ABOUT)
    made.add_argument(
        "--service-account", default=OPERATOR_ACCOUNT, help="of the operator, in its namespace; default %(default)s"
    )
    made.add_argument(
        "--tenant-namespace",
        default=OVN_KUBERNETES_NAMESPACE,
        help="of OVN-Kubernetes in tenants, where no DpuClusterConfig says another; default %(default)s",
    )
    made.add_argument(
        "--check",
        action="append",
        choices=[check.id for check in CHECKS],
        metavar="CHECK",
        help="only that one of docs/cli.md, again for one more; default: all",
    )
    return made


def _body(invocation: Invocation) -> Exit:
    client = invocation.infra()
    namespace = invocation.operator_namespace(client)
    infra = look_at_infra(FactGatherer(client, INFRA), namespace, invocation.given.service_account)
    wanted = [check for check in CHECKS if check.id in (invocation.given.check or [check.id])]
    outcomes = examine(wanted, views(invocation, infra, namespace))
    report(invocation.out, outcomes)
    return exit_of(outcomes)


def views(invocation: Invocation, infra: InfraLook, namespace: str) -> list[Facts]:
    """The facts, one view per tenant; a tenant without a kubeconfig counts as not looked at."""
    found = list(_tenants(invocation, infra.configs))
    return [facts(infra, tenant, invocation.clock.now(), namespace) for tenant in found]


def _tenants(invocation: Invocation, configs: Sequence[Obj]) -> Iterator[TenantLook]:
    place = _place(invocation)
    asking = sorted((each for each in configs if at(each, "spec", "kubeConfigFile")), key=place)
    if not asking:
        home = invocation.given.tenant_namespace
        yield TenantLook(_seen(invocation.tenant("", "", "tenant"), home), home, "the tenant", None)
    for (_, home), group in groupby(asking, place):
        names = [(namespace_of(each), name_of(each)) for each in group]
        seen = _seen(invocation.tenant(*names[0], "tenant"), home)
        yield TenantLook(seen, home, f"the tenant of {'/'.join(names[0])}", frozenset(names))


def _place(invocation: Invocation) -> Callable[[Obj], tuple[str, str]]:
    """Maps a DpuClusterConfig to the kubeconfig of its tenant and the namespace of OVN-Kubernetes there."""

    def place(config: Obj) -> tuple[str, str]:
        path = invocation.flags.tenants.of(namespace_of(config), name_of(config))
        return path or "", str(at(config, "spec", "tenantNamespace") or invocation.given.tenant_namespace)

    return place


def _seen(client: PreflightClient | None, namespace: str) -> ClusterFacts | Unseen:
    if client is None:
        return _WITHOUT
    try:
        return look_at_tenant(FactGatherer(client, "tenant"), namespace)
    except ApiError as err:
        return Unseen(f"it could not be asked: {err}", next_step(err))


def exit_of(outcomes: Sequence[Outcome]) -> Exit:
    """The exit code: a failed check counts before one that could not be made."""
    found = {finding.verdict for outcome in outcomes for finding in outcome.findings}
    return next((_EXITS[each] for each in (Verdict.FAIL, Verdict.NOT_LOOKED_AT) if each in found), Exit.GOOD)


def report(out: Output, outcomes: Sequence[Outcome]) -> None:
    """Print the findings; passed checks in full only with `--output wide` and in documents."""
    if out.format.is_document:
        out.document({"checks": [_document(outcome) for outcome in outcomes]})
        return
    told: set[Diagnosis] = set()
    for outcome in outcomes:
        verdict = outcome.verdict
        out.line(f"{verdict.value:<{_WIDTH}}  {outcome.check.title}", _TONES[verdict])
        for each in outcome.findings:
            if each not in told and (each.verdict is not Verdict.OK or out.format is Format.WIDE):
                _tell(out, each)
        told.update(outcome.findings)  # the reason why a whole cluster was not looked at is printed once
    out.line()
    out.line(_summary(outcomes))


def _tell(out: Output, diagnosis: Diagnosis) -> None:
    indent = " " * (_WIDTH + 2)
    out.line(f"{indent}{diagnosis.verdict.value}: {diagnosis.about}: {diagnosis.message}")
    if diagnosis.concerns:
        out.line(f"{indent}  concerns {diagnosis.concerns}")
    if diagnosis.mend:
        out.line(f"{indent}  -> {diagnosis.mend}", Tone.COMMAND)


def _summary(outcomes: Sequence[Outcome]) -> str:
    verdicts = [outcome.verdict for outcome in outcomes]
    counts = [f"{verdicts.count(each)} {each.value}" for each in Verdict if each in verdicts]
    return f"{len(outcomes)} check{'' if len(outcomes) == 1 else 's'}: {', '.join(counts)}"


def _document(outcome: Outcome) -> dict[str, object]:
    check = outcome.check
    return {
        "id": check.id,
        "title": check.title,
        "looksAt": check.looks_at,
        "verdict": outcome.verdict.value,
        "findings": [
            {
                "verdict": each.verdict.value,
                "about": each.about,
                "says": each.message,
                "concerns": each.concerns,
                "mend": each.mend,
            }
            for each in outcome.findings
        ],
    }
