"""Shell text of a pod, run under bash with stubs in place of the programs of the image."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BASH = "/bin/bash"

RECORDER = """#!/bin/bash
{ printf '%s' "${0##*/}"; for a; do printf '\\t%s' "$a"; done; printf '\\n'; } >>"$RECORD"
env | sort >"$RECORD.env.${0##*/}"
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
        for name, text in self.stubs.items():
            self.program(name, text)

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
            "DPUNETOP_POLL_SECONDS": "0.05",
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
            output, _ = process.communicate(timeout=10)
        return process.returncode, output

    def probe(self, container: str, question: str, **environment: str) -> int:
        command = [BASH, "-c", self.texts[f"{container} probe"], "probe", question]
        return subprocess.run(
            command, env=self.environment(**environment), check=False, capture_output=True, timeout=10
        ).returncode

    @property
    def calls(self) -> list[list[str]]:
        record = self.root / "record"
        return [line.split("\t") for line in record.read_text().splitlines()] if record.exists() else []

    def seen_by(self, program: str) -> dict[str, str]:
        lines = (self.root / f"record.env.{program}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> int:
    process.terminate()
    process.communicate(timeout=10)
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
        thread.join(5)
