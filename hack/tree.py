"""Write the tree of modules into docs/architecture.md, each with the first sentence of its docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "dpunetop"
DOCUMENT = ROOT / "docs" / "architecture.md"
WIDTH = 150
ROOMS = {
    "__main__.py": "python -m dpunetop [run|sandbox]",
    "app": "FRONT DOOR",
    "app/assets": "scripts and units that are shipped unchanged",
    "base": "FOUNDATION: neither Kubernetes nor DPUs",
    "controllers": "RECONCILERS: gather, let domain decide, execute",
    "controllers/drain": "the drain of DPUs: one worker for all pairs, and one for each tenant host",
    "controllers/tenant": "the link to tenants, and the credential of the DPU pods there",
    "domain": "DECISIONS about DPUs: pure functions from views to plans",
    "domain/clusterconfig": "the resource: admission, node grants, summary, end in order",
    "domain/credential": "the ServiceAccount of the DPU pods in the tenant",
    "domain/dpunode": "the status of each DPU",
    "domain/drain": "the drain of a host and its DPUs",
    "domain/drain/fleet": "all hosts of a tenant at once: pairs and drain slots",
    "domain/drain/model": "facts, record, calls: the input of rules, and the steps of tasks",
    "domain/drain/outages": "a host without network outside a drain",
    "domain/drain/protection": "a DPU serves only under protection",
    "domain/drain/report": "the status, Events and messages of drains",
    "domain/drain/rules": "the rules that decide the next task, the most dangerous first, and the tasks",
    "domain/hostconfig": "pool and MachineConfig of the DPU nodes",
    "domain/ovnkube": "OVN-Kubernetes on DPUs, from the tenant's own objects",
    "domain/ovnkube/settingstable": "how each setting of a tenant is applied on its DPUs",
    "domain/pairing": "which DPU is paired with which host, and the entries that pods read",
    "domain/reasons": "every condition type and reason: severity, message, remedy",
    "domain/tenant": "whether a tenant may be reached, is the same cluster as before, and can be read",
    "kube": "VOCABULARY of the Kubernetes API",
    "runtime": "ENGINE: would run any operator",
    "runtime/cache": "reflectors, stores and informers",
    "runtime/election": "leader election",
    "runtime/serving": "metrics and probes over HTTPS",
    "runtime/client": "the client of API servers",
    "runtime/client/net": "its sockets and connections",
    "sandbox": "HARNESS: real control planes and stand-ins on one machine",
    "sandbox/crds": "CRDs of the operators beside ours",
    "sandbox/realneighbours": "a real machine-config-controller and node maintenance operator",
    "sandbox/realovn": "the real OVN and Open vSwitch from packages, in namespaces of their own",
    "sandbox/realovnkube": "a real ovnkube in the pods of our DaemonSet",
    "sandbox/standins": "controllers that play the programs which cannot run on one machine",
}


def first_sentence(module: Path) -> str:
    text = (ast.get_docstring(ast.parse(module.read_text())) or "").split("\n\n")[0]
    return re.split(r"\.(?= |$)", " ".join(text.split()))[0]


def lines(folder: Path, indent: str) -> Iterator[str]:
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        name = path.relative_to(PACKAGE).as_posix()
        if path.name in ("__pycache__", "__init__.py") or not (path.is_dir() or path.suffix == ".py"):
            continue
        text = ROOMS.get(name) or (first_sentence(path) if path.is_file() else "")
        yield shortened(f"{indent + path.name + '/' * path.is_dir():<28}{text}")
        if path.is_dir() and name != "app/assets":
            yield from lines(path, indent + "  ")


def shortened(line: str) -> str:
    if len(line) <= WIDTH:
        return line.rstrip()
    return line[: line.rfind(" ", 0, WIDTH - 2)].rstrip(",:;") + " …"


def main() -> None:
    """Replace the text from `src/dpunetop/` to the end of its block."""
    tree = "src/dpunetop/\n" + "\n".join(lines(PACKAGE, "  ")) + "\n"
    document = DOCUMENT.read_text()
    DOCUMENT.write_text(re.sub(r"(?s)src/dpunetop/\n.*?(?=```)", lambda _: tree, document, count=1))


if __name__ == "__main__":
    main()
