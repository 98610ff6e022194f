"""The shipped text and where it goes."""

from dataclasses import fields
from importlib.resources import files

from dpunetop.app.assets import host_assets, interconnect_scripts, ovnkube_scripts


def test_the_files_go_where_the_predecessor_put_them() -> None:
    assert {file.path: oct(file.mode) for file in host_assets().files} == {
        "/etc/udev/rules.d/82-net-setup-link.rules": "0o644",
        "/etc/udev/vf-net-link-name.sh": "0o755",
        "/usr/local/bin/common-dpu.sh": "0o755",
        "/usr/local/bin/configure-switchdev.sh": "0o755",
        "/usr/local/bin/ovs-add-pf.sh": "0o755",
    }


def test_the_units_are_those_of_the_predecessor() -> None:
    assert {unit.name: [part.name for part in unit.drop_ins] for unit in host_assets().units} == {
        "NetworkManager.service": ["10-switchdev.conf"],
        "ovs-configuration.service": ["10-dpu-pfrep.conf"],
        "ovs-vswitchd.service": ["10-hw-offload.conf"],
        "switchdev-configuration.service": [],
    }


def test_only_the_new_unit_has_content_of_its_own() -> None:
    assert [unit.name for unit in host_assets().units if unit.content is not None] == [
        "switchdev-configuration.service"
    ]


def test_nothing_is_shipped_that_does_not_reach_a_host() -> None:
    assets = host_assets()
    used = {file.path.rpartition("/")[2] for file in assets.files}
    used |= {unit.name for unit in assets.units if unit.content is not None}
    used |= {part.name for unit in assets.units for part in unit.drop_ins}
    assert {entry.name for entry in (files("dpunetop.app.assets") / "host").iterdir()} == used


def test_every_script_for_a_pod_reaches_one() -> None:
    both = (ovnkube_scripts(), interconnect_scripts())
    containers = [getattr(scripts, each.name) for scripts in both for each in fields(scripts)]
    used = "".join(container.entry + container.probe for container in containers)
    folders = (files("dpunetop.app.assets") / name for name in ("ovnkube", "ovnkube-ic"))
    assert [path.name for folder in folders for path in folder.iterdir() if path.read_text() not in used] == []


def test_every_text_ends_its_last_line() -> None:
    assets = host_assets()
    texts = [file.content for file in assets.files] + [unit.content for unit in assets.units if unit.content]
    assert all(text.endswith("\n") and "\r" not in text for text in texts)
