"""Shell text of a pod, run under bash with stubs in place of the programs of the image."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BASH = "/bin/bash"
OPTIONS = Path(__file__).parents[1] / "data" / "ovnkube-options"
RELEASES = sorted(path.stem for path in OPTIONS.glob("*.txt"))
"""Whose options have been recorded."""
_OVNKUBE = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from strictovnkube import main
sys.exit(main(*sys.argv[1:]))"""
"""Imported, not run as a script, so that Python compiles it once."""


def known_options(release: str) -> frozenset[str]:
    """The options that it takes, with their dashes."""
    return frozenset(line.split()[0] for line in (OPTIONS / f"{release}.txt").read_text().splitlines())


RECORDER = """#!/bin/bash
{ printf '%s' "${0##*/}"; for a; do printf '\\t%s' "$a"; done; printf '\\n'; } >>"$RECORD"
env >"$RECORD.env.${0##*/}"
"""
# Keeps what it is told to set, and tells what is asked for, quoted as the real one does.
OVS_VSCTL = """#!/bin/bash
{ printf '%s' "${0##*/}"; for a; do printf '\\t%s' "$a"; done; printf '\\n'; } >>"$RECORD"
if [[ -e $RECORD.no-ovs ]]; then
  echo 'ovs-vsctl: unix:/run/openvswitch/db.sock: database connection failed' >&2
  exit 1
fi
for word; do
  case $word in
    get | set) verb=$word ;;
    external_ids:*=*)
      value=${word#*=}
      [[ $verb == set ]] && printf '%s' "${value//\\"/}" >"$RECORD.ovs.${word%%=*}"
      ;;
    external_ids:*)
      if [[ $verb == get && -e $RECORD.ovs.$word ]]; then
        printf '"%s"\\n' "$(<"$RECORD.ovs.$word")"
      else
        echo
      fi
      ;;
  esac
done
"""
# Keeps its rules in a file, as the kernel would: -C looks, -A adds.
TABLES = """#!/bin/bash
{ printf '%s' "${0##*/}"; for a; do printf '\\t%s' "$a"; done; printf '\\n'; } >>"$RECORD"
set -- "${0##*/}" "$@"
[[ $1 == xtables-nft-multi ]] && shift
rule="$1 ${*:6}"
case " $* " in
  *' -C '*) grep -qxF -- "${rule/ -C / }" "$RECORD.rules" 2>/dev/null ;;
  *' -A '*) printf '%s\\n' "${rule/ -A / }" >>"$RECORD.rules" ;;
esac
"""
_CERTIFICATES = ("ovn-cert/tls.key", "ovn-cert/tls.crt", "ovn-ca/ca-bundle.crt")
WRAPPER = "#!/bin/bash\nexit 125\n"


@dataclass
class ScriptedPod:
    """The files of one pod: entries, state, and a folder of stub programs."""

    root: Path
    texts: Mapping[str, str]
    """By name of container; its probe as `<container> probe`."""
    template: Mapping[str, str]
    """Environment of the containers, as the pod template has it."""
    stubs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in ("entries", "state", "bin"):
            (self.root / folder).mkdir()
        for path in ("run/ovnkube-config/ovnkube.conf", "var/run/secrets/tenant-kubeconfig/kubeconfig", *_CERTIFICATES):
            self.file(path, "")
        for name, text in self.stubs.items():
            self.program(name, text)

    def file(self, path: str, text: str) -> None:
        """What the strict ovnkube finds at that path."""
        (self.root / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / "files" / path).write_text(text)

    def plays(self, release: str, *lacks: str) -> None:
        """Have ovnkube of that release, less some of its options."""
        options = self.root / "options"
        lines = (OPTIONS / f"{release}.txt").read_text().splitlines()
        options.write_text("".join(f"{line}\n" for line in lines if line.split()[0] not in lacks))
        if "--ovnkube-node-mgmt-port-dp-resource-name" not in known_options(release):
            self.open_vswitch(dpunetop_mgmt_port_netdev="pf0vf0")
        words = (sys.executable, "-IS", "-c", _OVNKUBE, str(options), str(self.root / "files"))
        self.program("ovnkube", f'#!/bin/bash\nexec {shlex.join(words)} "$@"\n')

    def open_vswitch(self, **values: str) -> None:
        for key, value in values.items():
            self.ovs(key).write_text(value)

    def ovs(self, key: str) -> Path:
        """Where the stub of Open vSwitch keeps an external id."""
        return self.root / f"record.ovs.external_ids:{key.replace('_', '-')}"

    @property
    def message(self) -> str:
        """What it left in the status of its pod when it ended."""
        message = self.root / "message"
        return message.read_text() if message.exists() else ""

    def program(self, name: str, text: str) -> None:
        (self.root / "bin" / name).write_text(text)
        (self.root / "bin" / name).chmod(0o755)

    def without(self, *names: str) -> None:
        for name in names:
            (self.root / "bin" / name).unlink()

    def entry(self, text: str, node: str = "dpu-1") -> None:
        # As a kubelet does it: the file changes all at once.
        (self.root / "new").write_text(text)
        (self.root / "new").rename(self.root / "entries" / node)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **self.template,
            "PATH": f"{self.root}/bin:/usr/bin:/bin",
            "RECORD": str(self.root / "record"),
            "DPUNETOP_ENTRIES": str(self.root / "entries"),
            "DPUNETOP_STATE": str(self.root / "state"),
            "DPUNETOP_MESSAGE": str(self.root / "message"),
            "DPUNETOP_POLL_SECONDS": "0.05",
            "STUB_ADDRESSES": "192.0.2.1 198.51.100.10 198.51.100.11",
            **more,
        }

    def start(self, container: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BASH, "-c", self.texts[container], container, *arguments],
            env=self.environment(**environment),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, container: str, *arguments: str, **environment: str) -> tuple[int, str]:
        with self.start(container, *arguments, **environment) as process:
            output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def probe(self, container: str, question: str, **environment: str) -> int:
        return self.answer(container, question, **environment)[0]

    def answer(self, container: str, question: str, **environment: str) -> tuple[int, str]:
        command = [BASH, "-c", self.texts[f"{container} probe"], container, question]
        done = subprocess.run(
            command, env=self.environment(**environment), check=False, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout

    @property
    def calls(self) -> list[list[str]]:
        record = self.root / "record"
        return [line.split("\t") for line in record.read_text().splitlines()] if record.exists() else []

    def seen_by(self, program: str) -> dict[str, str]:
        lines = (self.root / f"record.env.{program}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def started_with(pod: ScriptedPod) -> str:
    """What ovnkube was called with, which was the last of all."""
    assert pod.calls[-1][0] == "ovnkube"
    return " ".join(pod.calls[-1])


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> int:
    process.terminate()
    process.communicate(timeout=60)
    return process.returncode


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server on the loopback that gives the same answer to everyone; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                with connection.makefile("rb") as request_lines:
                    while request_lines.readline().strip():
                        pass
                connection.sendall(answer)

    thread = threading.Thread(target=serve, name="metrics")
    thread.start()
    try:
        yield str(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)
