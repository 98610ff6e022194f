"""The frame of the commands for people: flags, exit codes, clients that cannot write, the table of commands."""

from __future__ import annotations

import argparse
import gc
import inspect
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from dpunetop.__main__ import kubectl_dpu, main
from dpunetop.app.commands.clients import ReadingTransport, WriteAttempted
from dpunetop.app.commands.exits import Exit, worst
from dpunetop.app.commands.flags import CommandParser, Flags, UsageError, read_flags
from dpunetop.app.commands.invocation import INTERRUPTED, Invocation, invoke
from dpunetop.app.commands.output import Format
from dpunetop.app.commands.table import COMMANDS, Command
from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube import requests
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.keys import (
    DEPLOYMENTS,
    NODES,
    PODS,
    SELFSUBJECTREVIEWS,
    SUBJECTACCESSREVIEWS,
    TOKENREVIEWS,
    Resource,
)
from dpunetop.kube.requests import Request, Selection, changes_nothing
from dpunetop.runtime.client.connection import Anonymous, Connection
from dpunetop.runtime.client.transport import CallOptions
from dpunetop.runtime.metrics import Metrics

READS = {
    "get": requests.get(NODES, "", "n"),
    "list_page": requests.list_page(Selection(PODS), 5, ""),
    "watch": requests.watch(Selection(PODS), "1", 5),
    "watch_list": requests.watch_list(Selection(PODS), 5),
    "log": requests.log("ns", "p", "c", 5, 5, False),
    "rehearse": requests.rehearse(DEPLOYMENTS, "ns", "d", {}, "m"),
    "dry_run": requests.dry_run(NODES, "", "n", "status", {}, "m"),
}
WRITES = {
    "apply": requests.apply(DEPLOYMENTS, "ns", "d", {}, "m"),
    "apply_status": requests.apply_status(DEPLOYMENTS, "ns", "d", {}, "m"),
    "merge_patch": requests.merge_patch(NODES, "", "n", {}, "dryRun=All"),
    "create": requests.create(PODS, "ns", {}),
    "create_sub": requests.create_sub(PODS, "ns", "p?dryRun=All", "eviction", {}),
    "update": requests.update(PODS, "ns", "p", {}),
    "delete": requests.delete(PODS, "ns", "p", "uid"),
}


def test_each_request_that_can_be_made_is_known_as_a_read_or_as_a_write() -> None:
    made = {name for name, each in inspect.getmembers(requests, inspect.isfunction) if returns_a_request(each)}
    assert made == {*READS, *WRITES}


def returns_a_request(function: Callable[..., object]) -> bool:
    is_public = function.__module__ == requests.__name__ and not function.__name__.startswith("_")
    return is_public and inspect.signature(function).return_annotation == "Request"


@pytest.mark.parametrize("request_", READS.values(), ids=READS)
def test_a_read_or_a_rehearsal_changes_nothing(request_: Request) -> None:
    assert changes_nothing(request_)


@pytest.mark.parametrize("request_", WRITES.values(), ids=WRITES)
def test_a_write_is_known_as_one_whatever_its_names_say(request_: Request) -> None:
    assert not changes_nothing(request_)


@pytest.mark.parametrize("resource", [SUBJECTACCESSREVIEWS, SELFSUBJECTREVIEWS, TOKENREVIEWS])
def test_a_review_is_a_question(resource: Resource) -> None:
    assert changes_nothing(requests.create(resource, "", {}))


@pytest.mark.parametrize(
    "target",
    ["/api/v1/pods?dryRun=All&dryRun=None", "/api/v1/pods?dryrun=All", "/api/v1/pods#?dryRun=All", "/a?dryRun=all"],
)
def test_what_is_not_plainly_a_dry_run_is_a_write(target: str) -> None:
    assert not changes_nothing(Request("DELETE", target))


def test_the_transport_of_commands_refuses_each_write_before_it_is_sent() -> None:
    stop = Stop(RealClock())
    here = Connection("https://127.0.0.1:9", None, Anonymous())
    transport = ReadingTransport(
        here, stop, user_agent="test", metrics=Metrics().client("127.0.0.1:9"), clock=RealClock(), whose="ours"
    )
    for each in WRITES.values():
        with pytest.raises(WriteAttempted):
            transport.call(each, CallOptions(1.0))
        with pytest.raises(WriteAttempted), transport.stream(each):
            pass
    with pytest.raises(Unreachable):
        transport.call(READS["get"], CallOptions(1.0))
    stop.set()


def flags(*arguments: str, is_terminal: bool = True, **environment: str) -> Flags:
    return read_flags(CommandParser("test", "A test.").parse_args(arguments), environment, is_terminal)


def test_a_tenant_kubeconfig_is_for_all_or_for_one() -> None:
    given = flags("--tenant-kubeconfig", "all.yaml", "--tenant-kubeconfig", "blue/cards=a=b.yaml").tenants
    assert given.of("blue", "cards") == "a=b.yaml"
    assert given.of("red", "cards") == "all.yaml"
    assert flags().tenants.of("red", "cards") is None


def test_two_tenant_kubeconfigs_for_all_are_refused() -> None:
    with pytest.raises(UsageError, match="NAMESPACE/NAME=PATH"):
        flags("--tenant-kubeconfig", "a.yaml", "--tenant-kubeconfig", "b.yaml")


@pytest.mark.parametrize(
    ("arguments", "is_terminal", "environment", "expected"),
    [
        ((), True, {}, True),
        ((), False, {}, False),
        (("--no-color",), True, {}, False),
        ((), True, {"NO_COLOR": "1"}, False),
        ((), True, {"NO_COLOR": ""}, True),
        ((), True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_whose_owner_wants_them(
    arguments: tuple[str, ...], is_terminal: bool, environment: dict[str, str], expected: bool
) -> None:
    assert flags(*arguments, is_terminal=is_terminal, **environment).colour is expected


def test_flags_win_over_the_environment() -> None:
    assert flags("--kubeconfig", "mine", KUBECONFIG="other").kubeconfig == "mine"
    assert flags(KUBECONFIG="other").kubeconfig == "other"
    assert flags("-o", "wide", "-n", "blue").output is Format.WIDE


@pytest.mark.parametrize("arguments", [("-n", "No"), ("--operator-namespace", "a b"), ("-o", "xml"), ("--watch=1",)])
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(CommandParser("test", "A test."), arguments, lambda _: Exit.GOOD) == Exit.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("dpunetop: ")
    assert said.err.count("\n") == 1


def test_a_kubeconfig_that_is_not_there_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def body(invocation: Invocation) -> Exit:
        invocation.infra()
        return Exit.GOOD

    assert invoke(CommandParser("test", "A test."), ["--kubeconfig", "/no/such/file"], body) == Exit.USAGE
    assert "/no/such/file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(Unreachable(0, "Refused", "nobody"), Exit.UNSEEN), (KeyboardInterrupt(), INTERRUPTED)]
)
def test_what_ends_a_command_early_has_its_exit_code(error: BaseException, code: int) -> None:
    def body(_: Invocation) -> Exit:
        raise error

    assert invoke(CommandParser("test", "A test."), [], body) == code


def test_of_several_findings_the_worst_is_the_exit_code() -> None:
    assert worst() is Exit.GOOD
    assert worst(Exit.GOOD, Exit.UNSEEN) is Exit.UNSEEN
    assert worst(Exit.UNSEEN, Exit.WRONG, Exit.GOOD) is Exit.WRONG


def test_each_command_of_the_table_has_its_function() -> None:
    assert all(callable(each.function()) for each in COMMANDS)
    assert len({each.name for each in COMMANDS}) == len(COMMANDS)


def test_the_help_names_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {each.name} " in said and each.summary in said for each in COMMANDS)


def test_an_unknown_command_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stat\x1b[31mus"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "there are run," in said


def test_kubectl_dpu_without_a_command_lists_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl-dpu"])
    assert kubectl_dpu() == 0
    assert "usage:" in capsys.readouterr().out


def test_the_entry_point_imports_only_the_modules_of_its_command() -> None:
    heavy = "yaml", "kubernetes", "urllib3", "rich", "structlog", "prometheus_client"
    code = f"import sys, dpunetop.__main__ as m; m.main(['--help']); print([w for w in {heavy} if w in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.splitlines()[-1] == "[]"


def test_flags_are_parsed_into_a_namespace_of_their_own() -> None:
    assert isinstance(CommandParser("test", "A test.").parse_args([]), argparse.Namespace)


def test_garbage_is_not_looked_for_while_a_command_is_imported_and_is_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def function(self: Command) -> Callable[[Sequence[str]], int]:
        seen.append(gc.isenabled())
        if self.name == "doctor":
            raise ImportError(self.name)
        return lambda _: 10 * gc.isenabled()

    monkeypatch.setattr(Command, "function", function)
    assert main(["status"]) == 10
    with pytest.raises(ImportError):
        main(["doctor"])
    assert gc.isenabled()
    assert seen == [False, False]
