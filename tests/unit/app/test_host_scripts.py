"""The shipped scripts, run by bash against a tree like /sys and commands that record how they were called."""

import re
import subprocess
from fnmatch import fnmatchcase
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from support.fakehost import BLUEFIELD_3, NVIDIA, SWITCH, FakeHost

SCRIPTS = ("common-dpu.sh", "configure-switchdev.sh", "ovs-add-pf.sh", "vf-net-link-name.sh")

# Keeps the mode of each port in a file; a port listed in `refuse` fails as often as its file says.
DEVLINK = """
port=${4//[:\\/]/_}
case $3 in
show)
    echo "$4: mode $(cat "$STATE/$port" 2>/dev/null || echo legacy) inline-mode none encap-mode basic" ;;
set)
    left=$(cat "$STATE/refuse.$port" 2>/dev/null || echo 0)
    if ((left > 0)); then
        echo $((left - 1)) >"$STATE/refuse.$port"
        echo "devlink answers: Connection timed out" >&2
        exit 1
    fi
    echo "$6" >"$STATE/$port" ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    host = FakeHost(tmp_path / "host")
    host.command("devlink", DEVLINK)
    host.command("ovs-vsctl")
    host.command("nmcli", 'cat "$STATE/uplink" 2>/dev/null')
    return host


def uplink(host: FakeHost, name: str) -> None:
    (host.root / "state/uplink").write_text(f"{name}\n")


def refuse(host: FakeHost, address: str, times: int) -> None:
    name = re.sub("[:/]", "_", f"pci/{address}")
    (host.root / "state" / f"refuse.{name}").write_text(str(times))


def mode_changes(host: FakeHost) -> list[str]:
    return [call.split()[3] for call in host.calls("devlink") if " set " in call]


def attached(host: FakeHost) -> list[str]:
    return [call for call in host.calls("ovs-vsctl") if "add-port" in call]


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_accepts_the_script(script: str) -> None:
    with as_file(files("dpunetop.app.assets") / "host" / script) as path:
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
        text = path.read_text()
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"\beval\b", text)


class TestSwitchdev:
    def test_both_ports_are_set_whatever_their_interfaces_are_called(self, host: FakeHost) -> None:
        host.bluefield(names=("eth0", "enp3s0f1np1"))
        assert host.run("configure-switchdev.sh").returncode == 0
        assert [call for call in host.calls("devlink") if " set " in call] == [
            "dev eswitch set pci/0000:03:00.0 mode switchdev",
            "dev eswitch set pci/0000:03:00.1 mode switchdev",
        ]

    def test_a_port_is_set_before_its_interface_exists(self, host: FakeHost) -> None:
        host.pci("0000:03:00.0", device=BLUEFIELD_3)
        assert host.run("configure-switchdev.sh").returncode == 0
        assert mode_changes(host) == ["pci/0000:03:00.0"]

    def test_a_card_in_switchdev_mode_is_not_touched(self, host: FakeHost) -> None:
        host.bluefield()
        host.run("configure-switchdev.sh")
        assert host.run("configure-switchdev.sh").returncode == 0
        assert mode_changes(host) == ["pci/0000:03:00.0", "pci/0000:03:00.1"]

    def test_a_port_that_refuses_once_is_tried_again(self, host: FakeHost) -> None:
        host.bluefield()
        refuse(host, "0000:03:00.0", times=1)
        assert host.run("configure-switchdev.sh").returncode == 0
        assert mode_changes(host) == ["pci/0000:03:00.0", "pci/0000:03:00.1", "pci/0000:03:00.0"]

    def test_a_port_that_keeps_refusing_does_not_keep_the_other_one_back_and_fails_the_unit(
        self, host: FakeHost
    ) -> None:
        host.bluefield()
        refuse(host, "0000:03:00.0", times=99)
        done = host.run("configure-switchdev.sh")
        assert done.returncode == 1
        assert "gave up on 0000:03:00.0\n" in done.stderr
        assert mode_changes(host).count("pci/0000:03:00.1") == 1
        assert mode_changes(host).count("pci/0000:03:00.0") == 3

    def test_a_card_whose_tool_fails_fails_the_unit(self, host: FakeHost) -> None:
        host.bluefield()
        host.command("devlink", "exit 1")
        assert host.run("configure-switchdev.sh").returncode == 1

    def test_a_mode_that_does_not_stick_fails_the_unit(self, host: FakeHost) -> None:
        host.bluefield()
        host.command("devlink", 'echo "$4: mode legacy inline-mode switchdev"')
        assert host.run("configure-switchdev.sh").returncode == 1

    @pytest.mark.parametrize(("vendor", "device"), [("0x8086", "0x1572"), ("0x8086", "0xa2d6"), (NVIDIA, "0x1017")])
    def test_a_node_without_a_bluefield_says_so_and_changes_nothing(
        self, host: FakeHost, vendor: str, device: str
    ) -> None:
        host.interface("p0", host.pci("0000:01:00.0", vendor, device), phys_port_name="p0", phys_switch_id="aa")
        done = host.run("configure-switchdev.sh")
        assert done.returncode == 1
        assert "no BlueField port found" in done.stderr
        assert host.calls("devlink") == []

    def test_another_adapter_beside_the_card_is_not_touched(self, host: FakeHost) -> None:
        host.bluefield()
        host.interface("p2", host.pci("0000:01:00.0", "0x8086", "0x1572"), phys_port_name="p0")
        assert host.run("configure-switchdev.sh").returncode == 0
        assert mode_changes(host) == ["pci/0000:03:00.0", "pci/0000:03:00.1"]


class TestHostRepresentor:
    @pytest.mark.parametrize("form", ["c1pf{}", "c1pf{}hpf", "pf{}", "pf{}hpf"])
    @pytest.mark.parametrize("number", [0, 1])
    def test_it_is_attached_whatever_the_kernel_calls_its_port(self, host: FakeHost, form: str, number: int) -> None:
        host.bluefield(representor=form)
        uplink(host, f"p{number}")
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == [f"--timeout=30 --may-exist add-port br-ex rep{number}"]

    def test_the_uplink_is_asked_of_networkmanager(self, host: FakeHost) -> None:
        host.bluefield()
        uplink(host, "p0")
        host.run("ovs-add-pf.sh")
        assert host.calls("nmcli") == ["--get-values GENERAL.DEVICES connection show ovs-if-phys0"]

    def test_names_of_interfaces_are_not_looked_at(self, host: FakeHost) -> None:
        host.bluefield(names=("uplink", "other"))
        uplink(host, "uplink")
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep0"]

    def test_one_on_another_switch_is_not_taken(self, host: FakeHost) -> None:
        pci = host.pci("0000:03:00.0")
        host.interface("p0", pci, phys_port_name="p0", phys_switch_id=SWITCH)
        host.interface("astray", pci, phys_port_name="c1pf0", phys_switch_id="0011223344556677")
        host.interface("legacy", pci, phys_port_name="c1pf0")
        uplink(host, "p0")
        done = host.run("ovs-add-pf.sh")
        assert (done.returncode, attached(host)) == (1, [])
        assert "br-ex has no way to the host" in done.stderr

    def test_a_virtual_function_or_another_port_is_not_taken_for_it(self, host: FakeHost) -> None:
        pci = host.pci("0000:03:00.0")
        for name, port in {"p0": "p0", "vf": "c1pf0vf0", "sf": "pf0sf1", "far": "c1pf1", "ten": "c1pf00"}.items():
            host.interface(name, pci, phys_port_name=port, phys_switch_id=SWITCH)
        uplink(host, "p0")
        assert host.run("ovs-add-pf.sh").returncode == 1
        assert attached(host) == []

    def test_a_port_in_legacy_mode_fails_visibly(self, host: FakeHost) -> None:
        host.interface("p0", host.pci("0000:03:00.0"), phys_port_name="p0")
        uplink(host, "p0")
        done = host.run("ovs-add-pf.sh")
        assert done.returncode == 1
        assert "is the port in switchdev mode?" in done.stderr

    def test_an_attachment_that_fails_is_tried_again(self, host: FakeHost) -> None:
        host.bluefield()
        uplink(host, "p0")
        host.command("ovs-vsctl", 'test -e "$STATE/second" || { touch "$STATE/second"; exit 1; }')
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep0"] * 2

    def test_an_attachment_that_keeps_failing_is_visible(self, host: FakeHost) -> None:
        host.bluefield()
        uplink(host, "p0")
        host.command("ovs-vsctl", "exit 1")
        assert host.run("ovs-add-pf.sh").returncode == 1

    def test_a_vlan_on_the_port_is_followed_down(self, host: FakeHost) -> None:
        host.bluefield()
        host.interface("p1.100")
        host.stack("p1.100", "p1")
        uplink(host, "p1.100")
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep1"]

    def test_a_bond_of_both_ports_gets_the_lower_one_only_whatever_the_order_of_names(self, host: FakeHost) -> None:
        host.bluefield(names=("second", "first"))
        host.interface("bond0")
        host.stack("bond0", "first", "second")
        uplink(host, "bond0")
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep0"]

    def test_a_bond_whose_lower_port_has_no_host_gets_the_other_one(self, host: FakeHost) -> None:
        host.bluefield()
        (host.root / "sys/class/net/rep0/phys_port_name").unlink()
        host.interface("bond0")
        host.stack("bond0", "p0", "p1")
        uplink(host, "bond0")
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep1"]

    def test_a_vlan_on_a_bond_is_followed_down(self, host: FakeHost) -> None:
        host.bluefield()
        for name in ("bond0", "bond0.7"):
            host.interface(name)
        host.stack("bond0", "p1")
        host.stack("bond0.7", "bond0")
        uplink(host, "bond0.7")
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep1"]

    def test_an_out_of_band_uplink_is_skipped_without_failing_ovs_configuration(self, host: FakeHost) -> None:
        host.bluefield()
        host.interface("oob_net0")
        uplink(host, "oob_net0")
        done = host.run("ovs-add-pf.sh")
        assert (done.returncode, attached(host)) == (0, [])
        assert "br-ex leaves by oob_net0, which is no BlueField port: nothing to attach" in done.stderr

    def test_another_adapter_as_uplink_is_skipped(self, host: FakeHost) -> None:
        host.bluefield()
        host.interface("eno1", host.pci("0000:01:00.0", "0x8086", "0x1572"), phys_port_name="p0", phys_switch_id=SWITCH)
        uplink(host, "eno1")
        done = host.run("ovs-add-pf.sh")
        assert (done.returncode, attached(host)) == (0, [])

    def test_a_node_without_the_bridge_is_skipped(self, host: FakeHost) -> None:
        host.bluefield()
        host.command("nmcli", "exit 10")
        host.command("ovs-vsctl", "exit 1")
        done = host.run("ovs-add-pf.sh")
        assert (done.returncode, attached(host)) == (0, [])
        assert "br-ex leaves by no interface" in done.stderr

    def test_a_bridge_that_networkmanager_did_not_make_is_read_from_open_vswitch(self, host: FakeHost) -> None:
        host.bluefield()
        host.command("nmcli", "exit 10")
        host.command("ovs-vsctl", '[[ $* != *list-ports* ]] || printf "%s\\n" p0 patch-br-ex_node-to-br-int')
        assert host.run("ovs-add-pf.sh").returncode == 0
        assert attached(host) == ["--timeout=30 --may-exist add-port br-ex rep0"]


class TestNameForUdev:
    @pytest.mark.parametrize(
        ("port", "name"),
        {"p0": "p0", "pf0": "pf0hpf", "c1pf0": "c1pf0hpf", "pf1hpf": "pf1hpf", "c1pf0vf3": "c1pf0vf3"}.items(),
    )
    def test_the_name_follows_from_the_port(self, host: FakeHost, port: str, name: str) -> None:
        done = host.run("vf-net-link-name.sh", port)
        assert (done.returncode, done.stdout) == (0, f"NAME={name}\nCOMBINED_QUEUES=4\n")

    @pytest.mark.parametrize("port", ["", "p0;reboot", "../p0", "p 0", "$(id)", "c123456pf1234", "pé"])
    def test_what_is_no_port_gets_no_name(self, host: FakeHost, port: str) -> None:
        done = host.run("vf-net-link-name.sh", port)
        assert (done.returncode, done.stdout) == (1, "")

    @pytest.mark.parametrize(
        ("line", "queues"),
        {
            "COMBINED_QUEUES=8": "COMBINED_QUEUES=8\n",
            "# few\nCOMBINED_QUEUES=16\n": "COMBINED_QUEUES=16\n",
            "COMBINED_QUEUES=0\n": "",
            "COMBINED_QUEUES=$(reboot)\n": "COMBINED_QUEUES=4\n",
            "COMBINED_QUEUES=08\n": "COMBINED_QUEUES=4\n",
            "OTHER=9\n": "COMBINED_QUEUES=4\n",
        }.items(),
    )
    def test_the_host_may_choose_the_queues(self, host: FakeHost, line: str, queues: str) -> None:
        (host.root / "dpu-network").write_text(line)
        done = host.run("vf-net-link-name.sh", "p0")
        assert (done.returncode, done.stdout) == (0, f"NAME=p0\n{queues}")


class Udev:
    """The part of udev that the rules use: matches of the event and of one parent, import, name, run."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        text = (files("dpunetop.app.assets") / "host/82-net-setup-link.rules").read_text()
        self.rules = [line for line in text.splitlines() if line and not line.startswith("#")]

    def event(self, kernel: str, parents: list[dict[str, str]], **attributes: str) -> tuple[str, list[str]]:
        """The name that the interface has afterwards, and the commands that are queued."""
        state = {"ACTION": "add", "SUBSYSTEM": "net", "NAME": kernel}
        environment: dict[str, str] = {}
        commands: list[str] = []
        skip = False
        for rule in self.rules:
            tokens = re.findall(r'([A-Z]+)(?:\{(\w+)\})?(==|!=|\+=|=)"([^"]*)"', rule)
            if skip and tokens[0][0] != "LABEL":
                continue
            skip = False
            matches = [token for token in tokens if token[2] in ("==", "!=")]
            if not self._matches(matches, state, environment, attributes, parents):
                continue
            for key, name, operator, raw in tokens:
                value = re.sub(r"\$attr\{(\w+)\}", lambda m: attributes[m[1]], raw)
                value = re.sub(r"\$env\{(\w+)\}", lambda m: environment.get(m[1], ""), value)
                value = value.replace("$name", state["NAME"])
                match (key, operator):
                    case ("GOTO", "="):
                        skip = True
                    case ("IMPORT", "="):
                        done = self.host.run(Path(value.split()[0]).name, *value.split()[1:])
                        if done.returncode:
                            break
                        environment.update(re.findall(r"(\w+)=(.*)", done.stdout))
                    case ("NAME", "="):
                        state["NAME"] = value
                    case ("ENV", "="):
                        environment[name] = value
                    case ("RUN", "+="):
                        commands.append(value)
        return state["NAME"], commands

    @staticmethod
    def _matches(
        tokens: list[tuple[str, str, str, str]],
        state: dict[str, str],
        environment: dict[str, str],
        attributes: dict[str, str],
        parents: list[dict[str, str]],
    ) -> bool:
        def holds(value: str | None, operator: str, pattern: str) -> bool:
            found = value is not None and any(fnmatchcase(value, part) for part in pattern.split("|"))
            return found if operator == "==" else not found

        own = {"ENV": environment, "ATTR": attributes}
        of_event = [t for t in tokens if t[0] not in ("DRIVERS", "ATTRS")]
        of_parent = [t for t in tokens if t[0] in ("DRIVERS", "ATTRS")]
        return all(holds(own[k].get(n) if k in own else state.get(k), o, v) for k, n, o, v in of_event) and (
            not of_parent or any(all(holds(p.get(n or "driver"), o, v) for _, n, o, v in of_parent) for p in parents)
        )


CARD = {"driver": "mlx5_core", "vendor": NVIDIA, "device": BLUEFIELD_3}


class TestUdevRule:
    def test_a_port_of_the_card_is_named_and_gets_few_queues(self, host: FakeHost) -> None:
        seen = Udev(host).event("eth0", [{"driver": "pcieport"}, CARD], phys_port_name="p0")
        assert seen == ("p0", ["/usr/sbin/ethtool -L p0 combined 4"])

    def test_a_representor_is_named_and_gets_few_queues(self, host: FakeHost) -> None:
        seen = Udev(host).event("eth3", [CARD], phys_port_name="c1pf0", phys_switch_id=SWITCH)
        assert seen == ("c1pf0hpf", ["/usr/sbin/ethtool -L c1pf0hpf combined 4"])

    def test_queues_are_left_alone_where_the_host_says_so(self, host: FakeHost) -> None:
        (host.root / "dpu-network").write_text("COMBINED_QUEUES=0\n")
        assert Udev(host).event("eth0", [CARD], phys_port_name="p0") == ("p0", [])

    @pytest.mark.parametrize(
        "other",
        [
            {"driver": "ice", "vendor": "0x8086", "device": "0x159b"},
            {"driver": "mlx5_core", "vendor": NVIDIA, "device": "0x1017"},
            {"driver": "mlx5_core", "vendor": "0x1af4", "device": BLUEFIELD_3},
            {"driver": "vfio-pci", "vendor": NVIDIA, "device": BLUEFIELD_3},
        ],
    )
    def test_another_adapter_with_port_names_keeps_its_name_and_queues(
        self, host: FakeHost, other: dict[str, str]
    ) -> None:
        assert Udev(host).event("ens2f0", [other], phys_port_name="p0", phys_switch_id="aa") == ("ens2f0", [])

    def test_vendor_and_driver_of_two_different_parents_do_not_add_up(self, host: FakeHost) -> None:
        bridge = {"driver": "pcieport", "vendor": NVIDIA, "device": BLUEFIELD_3}
        adapter = {"driver": "mlx5_core", "vendor": NVIDIA, "device": "0x1017"}
        assert Udev(host).event("ens2f0", [adapter, bridge], phys_port_name="p0") == ("ens2f0", [])

    def test_a_port_whose_name_is_refused_is_left_alone(self, host: FakeHost) -> None:
        assert Udev(host).event("eth9", [CARD], phys_port_name="p0;x") == ("eth9", [])
