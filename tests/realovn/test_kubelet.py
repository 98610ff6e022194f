"""The kubelet that is played here is no kinder than the real one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpunetop.sandbox.realovn.clock import KubeletClock
from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovn.podspec import Identity
from dpunetop.sandbox.realovn.rootfs import Failed

pytestmark = pytest.mark.realovn

FOREVER = "while true; do sleep 0.1; done"


@pytest.fixture
def run(dpu: Dpu) -> Iterator[Any]:
    started: list[Pod] = []

    def run(script: str, objects: dict[str, dict[str, str]] | None = None, clock: float = 0.1, **members: Any) -> Pod:
        pod_members = {"volumes": members.pop("volumes", []), "terminationGracePeriodSeconds": members.pop("grace", 1)}
        container = {"name": "c", "image": "i", "command": ["/bin/bash", "-c", script], **members}
        template = {"spec": {"hostNetwork": True, "hostPID": True, "containers": [container], **pod_members}}
        pod = Pod(dpu, template, Identity("dpu-1", "192.168.50.2"), objects or {}, KubeletClock(clock))
        pod.start()
        started.append(pod)
        return pod

    yield run
    for pod in started:
        pod.stop()


def probe(script: str, **clock: int) -> dict[str, Any]:
    return {"exec": {"command": ["/bin/bash", "-c", script]}, **clock}


def log(pod: Pod, start: int | None = None) -> str:
    file = pod.containers["c"].log(start)
    return file.read_text() if file.exists() else ""


def said(pod: Pod, text: str, start: int | None = None) -> None:
    pod.wait(f"said {text!r}", lambda _: text in log(pod, start))


def test_a_container_that_exits_with_0_is_restarted_too_with_growing_back_off(run: Any) -> None:
    pod = run("date +%s.%N", clock=0.02)
    pod.wait("four starts", lambda now: now["c"].restarts >= 4 and log(pod, 4) != "")
    times = [float(log(pod, start)) for start in range(5)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[1] > 0.2
    assert pauses[2] > 0.4
    assert pauses[3] > 0.8


def test_a_container_whose_probe_fails_is_not_ready_and_says_why(run: Any) -> None:
    pod = run(FOREVER, readinessProbe=probe("echo no; test -e /tmp/yes", periodSeconds=1))
    pod.wait("asked", lambda _: pod.probers[0].said == "no")
    assert not pod.is_ready()
    pod.containers["c"].execute("touch", "/tmp/yes")
    pod.wait_ready()
    pod.containers["c"].execute("rm", "/tmp/yes")
    pod.wait("not Ready", lambda now: not now["c"].ready)


def test_a_new_start_is_not_ready_before_its_own_probe_said_so(run: Any) -> None:
    pod = run(FOREVER, readinessProbe=probe("test -e /tmp/yes", periodSeconds=1))
    pod.wait("running", lambda now: now["c"].process is not None)
    pod.containers["c"].execute("touch", "/tmp/yes")
    pod.wait_ready()
    pod.containers["c"].kill_first_process()
    pod.wait("started again", lambda now: now["c"].restarts == 1)
    assert not pod.is_ready()  # the file has gone with the layer of the start before
    pod.wait("running", lambda now: now["c"].process is not None)
    pod.containers["c"].execute("touch", "/tmp/yes")
    pod.wait_ready()


def test_a_container_that_is_not_alive_gets_sigterm_and_starts_again(run: Any) -> None:
    pod = run(f"trap 'exit 7' TERM; {FOREVER}", livenessProbe=probe("exit 1", periodSeconds=1, failureThreshold=2))
    pod.wait("started again", lambda now: now["c"].restarts == 1)
    last = pod.statuses()["c"].last
    assert (last.code, last.killed) == (7, False)


def test_a_container_that_does_not_hear_sigterm_is_killed_after_the_grace(run: Any) -> None:
    pod = run(f"trap '' TERM; echo deaf; {FOREVER}")
    said(pod, "deaf")
    ended = pod.stop()["c"]
    assert (ended.code, ended.killed, ended.message) == (137, True, "deaf")
    assert ended.seconds_to_end >= 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo logged; exit 3", "logged"),
        ("echo logged; printf written >/dev/termination-log; exit 3", "written"),
        ("echo logged; printf written >/dev/termination-log", "written"),
        ("echo logged", ""),
    ],
)
def test_a_message_is_what_was_written_for_it_else_the_log_of_one_that_failed(
    run: Any, script: str, message: str
) -> None:
    pod = run(script, clock=1)
    pod.wait("an end", lambda now: now["c"].last is not None)
    assert pod.statuses()["c"].last.message == message


def test_sigterm_goes_to_the_first_process_alone_and_what_it_leaves_is_killed(run: Any, dpu: Dpu) -> None:
    pod = run("(trap 'touch /v/heard' TERM; while true; do sleep 0.05; done) & echo up; wait", **shared_folder("left"))
    said(pod, "up")
    root = pod.containers["c"].current().root
    assert len(root.processes()) > 1
    assert pod.stop()["c"].code == 143
    assert root.processes() == []
    assert not dpu.root.inside("/srv/left/heard").exists()


def shared_folder(name: str) -> dict[str, Any]:
    return {
        "volumes": [{"name": "v", "hostPath": {"path": f"/srv/{name}"}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }


def test_a_start_has_a_fresh_layer_and_the_pods_own_volumes(run: Any) -> None:
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    pod = run(f"ls /mine /v; touch /mine /v/kept; echo done; {FOREVER}", **volumes)
    said(pod, "done")
    pod.containers["c"].kill_first_process()
    said(pod, "done", 1)
    assert "kept" not in log(pod, 0)
    assert "kept" in log(pod, 1)
    assert "cannot access '/mine'" in log(pod, 1)


def test_a_config_map_changes_as_a_whole_in_a_pod_that_runs(run: Any) -> None:
    volumes = {
        "volumes": [{"name": "v", "configMap": {"name": "config"}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
    }
    pod = run(FOREVER, {"config": {"a": "1", "b": "1"}}, **volumes)
    container = pod.containers["c"]
    pod.wait_ready()
    assert container.execute("sh", "-c", "cd /v; cat a b; ls") == "11a\nb"
    with pytest.raises(Failed, match="Read-only file system"):
        container.execute("touch", "/v/x")
    pod.volumes.publish("config", {"a": "2", "c": "2"})
    assert container.execute("sh", "-c", "cd /v; cat a c; ls").split() == ["22a", "c"]


def test_a_pod_whose_config_map_is_missing_does_not_start(run: Any) -> None:
    with pytest.raises(KeyError, match="config"):
        run(FOREVER, volumes=[{"name": "v", "configMap": {"name": "config"}}])


def test_a_folder_of_the_host_that_is_missing_is_made(run: Any, dpu: Dpu) -> None:
    pod = run(f"touch /v/file; echo done; {FOREVER}", **shared_folder("not/there/yet"))
    said(pod, "done")
    assert dpu.root.inside("/srv/not/there/yet/file").exists()


def test_only_a_privileged_container_may_change_the_network(run: Any) -> None:
    command = "ip link add name test type bridge && ip link delete test && echo may"
    assert "may" not in run_to_end(run(command))
    assert "may" in run_to_end(run(command, securityContext={"privileged": True}))


def run_to_end(pod: Pod) -> str:
    pod.wait("an end", lambda now: now["c"].last is not None)
    return log(pod, 0)


def test_the_environment_is_that_of_the_template_and_what_every_container_gets(run: Any) -> None:
    given = [
        {"name": "ONE", "value": "1"},
        {"name": "TWO", "value": "$(ONE)2"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    pod = run(f"env; echo end; {FOREVER}", env=given)
    said(pod, "end")
    found = dict(line.split("=", 1) for line in log(pod).splitlines() if "=" in line)
    assert {name: found[name] for name in ("ONE", "TWO", "NODE", "HOSTNAME", "KUBERNETES_SERVICE_PORT")} == {
        "ONE": "1",
        "TWO": "12",
        "NODE": "dpu-1",
        "HOSTNAME": "dpu-1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    assert "VIRTUAL_ENV" not in found


def test_nothing_of_a_pod_is_left_when_it_is_stopped(run: Any, dpu: Dpu) -> None:
    mounts = Path("/proc/self/mountinfo").read_text().count("\n")
    pod = run(f"sleep 1000 & echo up; {FOREVER}", readinessProbe=probe("sleep 0.3", periodSeconds=1))
    said(pod, "up")
    time.sleep(0.2)
    pod.stop()
    assert Path("/proc/self/mountinfo").read_text().count("\n") == mounts
    assert list(dpu.folder.glob("ovnkube-node-*/*/*/root")) == []
