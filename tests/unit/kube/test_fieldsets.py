import copy
import time
from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.kube.fieldsets import BEFORE_FIRST_APPLY, claimed, is_shadowed, projection, would_change

US = "dpunetop-ovnkube"
TCP_80 = 'k:{"containerPort":80,"protocol":"TCP"}'


def desired() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "n", "labels": {"app": "d"}, "finalizers": ["a/x", "b/y"]},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "spec": {
                    "containers": [
                        {"name": "c1", "image": "i", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                        {"name": "c2", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]},
                    ],
                    "tolerations": [{"operator": "Exists"}],
                }
            },
        },
    }


FIELDS = {  # as a kube-apiserver wrote it for `desired`
    "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {'v:"a/x"': {}, 'v:"b/y"': {}}},
    "f:spec": {
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"c1"}': {
                        ".": {},
                        "f:env": {
                            'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
                            'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}},
                        },
                        "f:image": {},
                        "f:name": {},
                    },
                    'k:{"name":"c2"}': {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {
                            'k:{"containerPort":80,"protocol":"TCP"}': {
                                ".": {},
                                "f:containerPort": {},
                                "f:hostPort": {},
                            }
                        },
                    },
                },
                "f:tolerations": {},
            }
        },
    },
}


def live() -> dict[str, Any]:
    obj = copy.deepcopy(desired())
    obj["metadata"].update(uid="u-1", resourceVersion="7", generation=1)
    obj["metadata"]["managedFields"] = [
        {"manager": "kubelet", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:status": {}}},
        {"manager": US, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": copy.deepcopy(FIELDS)},
    ]
    containers = pod(obj)["containers"]
    containers[1]["ports"][0]["protocol"] = "TCP"
    containers[0]["terminationMessagePath"] = "/dev/termination-log"
    obj["spec"]["revisionHistoryLimit"] = 10
    return obj


def pod(obj: dict[str, Any]) -> Any:
    return obj["spec"]["template"]["spec"]


def fields(obj: dict[str, Any]) -> Any:
    return obj["metadata"]["managedFields"][1]["fieldsV1"]


WANTS = {  # change of what we want, after it was applied
    "nothing": (lambda d: None, False),
    "a scalar": (lambda d: pod(d)["containers"][0].update(image="j"), True),
    "a new scalar": (lambda d: d["spec"].update(minReadySeconds=5), True),
    "a label more": (lambda d: d["metadata"]["labels"].update(more="1"), True),
    "the only label given up": (lambda d: d["metadata"].pop("labels"), True),
    "a member given up": (lambda d: pod(d).pop("tolerations"), True),
    "an item given up": (lambda d: pod(d)["containers"].pop(), True),
    "an item more": (lambda d: pod(d)["containers"][0]["env"].append({"name": "C", "value": "3"}), True),
    "an item renamed": (lambda d: pod(d)["containers"][0]["env"][0].update(name="C"), True),
    "items in another order": (lambda d: pod(d)["containers"].reverse(), True),
    "values in another order": (lambda d: d["metadata"]["finalizers"].reverse(), True),
    "another value in a set": (lambda d: d["metadata"].update(finalizers=["a/x", "c/z"]), True),
    "a value more": (lambda d: d["metadata"]["finalizers"].append("c/z"), True),
    "an empty list instead of items": (lambda d: pod(d).update(containers=[]), True),
    "a scalar instead of a map": (lambda d: d["metadata"].update(labels="x"), True),
    "a list instead of a map": (lambda d: d["metadata"].update(labels=["x"]), True),
    "an atomic value": (lambda d: d["spec"]["selector"]["matchLabels"].update(app="e"), True),
    "an atomic list": (lambda d: pod(d)["tolerations"].append({"key": "k"}), True),
    "the key field that the server fills in, written out": (
        lambda d: pod(d)["containers"][1]["ports"][0].update(protocol="TCP"),
        True,
    ),
    "a port of another protocol": (lambda d: pod(d)["containers"][1]["ports"][0].update(protocol="UDP"), True),
    "an identity that is given": (lambda d: d["metadata"].update(uid="u-1", resourceVersion="3"), False),
    "another API version": (lambda d: d.update(apiVersion="apps/v2"), True),
}


@pytest.mark.parametrize(("change", "expected"), WANTS.values(), ids=WANTS.keys())
def test_wanting_something_else_is_a_change(change: Callable[..., object], expected: bool) -> None:
    wanted = desired()
    change(wanted)
    assert would_change(wanted, live(), US) is expected


SEEN = {  # what happened to the live object since we applied
    "status and a foreign field": (lambda o: o.update(status={"numberReady": 1}), False),
    "a foreign label": (lambda o: o["metadata"]["labels"].update(other="1"), False),
    "a foreign item behind ours": (lambda o: pod(o)["containers"].append({"name": "sidecar"}), False),
    "a foreign item between ours": (lambda o: pod(o)["containers"].insert(1, {"name": "sidecar"}), False),
    "a foreign value in a set": (lambda o: o["metadata"]["finalizers"].insert(0, "z/z"), False),
    "our items in another order": (lambda o: pod(o)["containers"].reverse(), True),
    "our values in another order": (lambda o: o["metadata"]["finalizers"].reverse(), True),
    "our value changed": (lambda o: pod(o)["containers"][0].update(image="j"), True),
    "our value gone": (lambda o: pod(o)["containers"][0].pop("image"), True),
    "our item gone": (lambda o: pod(o)["containers"].pop(), True),
    "our set value gone": (lambda o: o["metadata"]["finalizers"].pop(), True),
    "our map gone": (lambda o: o["metadata"].pop("labels"), True),
    "our map is null": (lambda o: o["metadata"].update(labels=None), True),
    "our list is null": (lambda o: o["metadata"].update(finalizers=None), True),
    "ownership of a field lost": (lambda o: fields(o)["f:metadata"].pop("f:labels"), True),
    "ownership of an item lost": (
        lambda o: fields(o)["f:spec"]["f:template"]["f:spec"]["f:containers"].pop('k:{"name":"c2"}'),
        True,
    ),
    "our entry lost": (lambda o: o["metadata"]["managedFields"].pop(), True),
    "all entries lost": (lambda o: o["metadata"].pop("managedFields"), True),
    "our entry is of an Update": (lambda o: o["metadata"]["managedFields"][1].update(operation="Update"), True),
    "our entry is of the status": (lambda o: o["metadata"]["managedFields"][1].update(subresource="status"), True),
}


@pytest.mark.parametrize(("change", "expected"), SEEN.values(), ids=SEEN.keys())
def test_only_what_touches_our_fields_is_a_change(change: Callable[..., object], expected: bool) -> None:
    seen = live()
    change(seen)
    assert would_change(desired(), seen, US) is expected


def test_another_managers_entry_is_not_ours() -> None:
    assert would_change(desired(), live(), "dpunetop-hostconfig")


def test_wanting_nothing_of_an_object_that_holds_nothing_of_ours_changes_nothing() -> None:
    nothing = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}}
    assert not would_change(nothing, live(), "dpunetop-hostconfig")


def test_two_owned_keys_that_both_fit_an_incomplete_item_count_as_a_change() -> None:
    wanted, seen = desired(), live()
    ports = fields(seen)["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c2"}']["f:ports"]
    ports['k:{"containerPort":80,"protocol":"UDP"}'] = {".": {}, "f:containerPort": {}, "f:protocol": {}}
    pod(wanted)["containers"][1]["ports"].append({"containerPort": 80, "protocol": "UDP"})
    pod(seen)["containers"][1]["ports"].append({"containerPort": 80, "protocol": "UDP"})
    assert would_change(wanted, seen, US)


def condition(type_: str, status: str = "True") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": "Good", "message": ""}


def custom_resource(*conditions: dict[str, str]) -> dict[str, Any]:
    entry = {
        "manager": US,
        "operation": "Apply",
        "apiVersion": "dpu/v1",
        "subresource": "status",
        "fieldsV1": {
            "f:status": {
                "f:conditions": {
                    'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}, "f:reason": {}, "f:message": {}}
                }
            }
        },
    }
    return {
        "apiVersion": "dpu/v1",
        "kind": "C",
        "metadata": {"name": "c", "managedFields": [entry]},
        "status": {"conditions": list(conditions)},
    }


STATUS = {
    "as applied": (custom_resource(condition("Ready")), False),
    "beside another manager's condition": (custom_resource(condition("Other"), condition("Ready")), False),
    "status turned": (custom_resource(condition("Ready", "False")), True),
    "condition gone": (custom_resource(condition("Other")), True),
    "conditions null": ({**custom_resource(), "status": {"conditions": None}}, True),
}


@pytest.mark.parametrize(("seen", "expected"), STATUS.values(), ids=STATUS.keys())
def test_a_condition_is_compared_with_our_entry_of_the_status(seen: dict[str, Any], expected: bool) -> None:
    wanted = {
        "apiVersion": "dpu/v1",
        "kind": "C",
        "metadata": {"name": "c"},
        "status": {"conditions": [condition("Ready")]},
    }
    assert would_change(wanted, seen, US, "status") is expected


def test_the_projection_holds_our_fields_and_no_others() -> None:
    seen = live()
    pod(seen)["containers"].insert(0, {"name": "sidecar"})
    seen["metadata"]["finalizers"].append("z/z")
    expected = desired()
    for identity in ("apiVersion", "kind"):
        del expected[identity]
    for identity in ("name", "namespace"):
        del expected["metadata"][identity]
    assert projection(seen, US) == expected


def test_the_projection_is_the_same_whatever_others_do_and_differs_once_our_field_does() -> None:
    touched, foreign = live(), live()
    pod(touched)["containers"][0]["image"] = "j"
    foreign["metadata"]["labels"]["other"] = "1"
    assert projection(foreign, US) == projection(live(), US) != projection(touched, US)


def test_there_is_no_projection_without_our_entry() -> None:
    assert projection(live(), "dpunetop-hostconfig") is None


def test_to_compare_an_object_costs_less_than_to_copy_it() -> None:
    wanted, seen = desired(), live()

    def cost(work: Callable[..., object]) -> float:
        """CPU seconds of this thread for 300 times, at best."""
        spent = []
        for _ in range(5):
            start = time.thread_time()
            for _ in range(300):
                work()
            spent.append(time.thread_time() - start)
        return min(spent)

    assert not would_change(wanted, seen, US)
    assert cost(lambda: would_change(wanted, seen, US)) < cost(lambda: copy.deepcopy(seen))


def before(**fields: Any) -> dict[str, Any]:
    named = {path.replace("_", ":", 1): below for path, below in fields.items()}
    return {"manager": BEFORE_FIRST_APPLY, "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": named}


def test_nothing_is_claimed_where_nobody_was_before_us() -> None:
    assert claimed(desired(), live(), US, "", True) is None
    assert not is_shadowed(desired(), live(), US, "", True)


def test_what_was_there_before_anybody_applied_is_ours_in_members_of_a_whole_object_that_we_list() -> None:
    seen = live()
    others: dict[str, Any] = {"f:status": {"f:x": {}}, "f:secrets": {}}
    spec: Any = {"f:selector": {}, "f:template": {"f:spec": {"f:volumes": {".": {}, 'k:{"name":"v"}': {".": {}}}}}}
    seen["metadata"]["managedFields"].append(before(f_spec=spec, f_status={"f:x": {}}, f_secrets={}))
    found = claimed(desired(), seen, US, "", True)
    assert found is not None
    by_name = {entry["manager"]: entry["fieldsV1"] for entry in found}
    assert by_name[BEFORE_FIRST_APPLY] == others
    assert by_name[US]["f:spec"]["f:template"]["f:spec"]["f:volumes"] == spec["f:template"]["f:spec"]["f:volumes"]
    assert by_name[US]["f:metadata"] == FIELDS["f:metadata"]
    seen["metadata"]["managedFields"] = found
    assert not is_shadowed(desired(), seen, US, "", True)
    assert would_change(desired(), seen, US)


def test_of_a_shared_object_only_what_we_list_stops_to_be_of_before() -> None:
    seen = live()
    spec: dict[str, Any] = {"f:selector": {}, "f:theirs": {}}
    seen["metadata"]["managedFields"].append(before(f_spec=spec))
    found = claimed(desired(), seen, US, "", False)
    assert found is not None
    by_name = {entry["manager"]: entry["fieldsV1"] for entry in found}
    assert by_name[US] == FIELDS
    assert by_name[BEFORE_FIRST_APPLY] == {"f:spec": {"f:theirs": {}}}
    seen["metadata"]["managedFields"] = found
    assert not is_shadowed(desired(), seen, US, "", False)
    assert not would_change(desired(), seen, US)


def test_what_was_before_goes_when_nothing_is_left_of_it() -> None:
    seen = live()
    seen["metadata"]["managedFields"].append(before(f_spec={"f:selector": {}}))
    found = claimed(desired(), seen, US, "", False)
    assert [entry["manager"] for entry in found or ()] == ["kubelet", US]


@pytest.mark.parametrize("other", [{"subresource": "status"}, {"apiVersion": "apps/v1beta1"}, {"operation": "Apply"}])
def test_an_entry_of_another_kind_is_left_alone(other: dict[str, str]) -> None:
    seen = live()
    seen["metadata"]["managedFields"].append({**before(f_spec={"f:selector": {}}), **other})
    assert claimed(desired(), seen, US, "", True) is None
