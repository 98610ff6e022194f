"""Record the names of all settings of a release of OVN-Kubernetes, for tests/data/settings.

Usage: python hack/record_settings.py SOURCE CHECKOUT BRANCH > tests/data/settings/SOURCE-RELEASE.txt

SOURCE selects the files of a checkout: `openshift` and `central` (a release before 4.14) of cluster-network-operator,
`upstream` (chart and start script) and `ovnkube` (the program itself) of ovn-kubernetes. Only names are written: keys
of ovnkube.conf and of ConfigMaps, options and literals of scripts, variables that DaemonSets set and scripts read.
Nothing is built.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_BINDATA = "bindata/network/ovn-kubernetes"
_CHART = "helm/ovn-kubernetes"
_SCRIPT = "dist/images/ovnkube.sh"


@dataclass(frozen=True)
class Checkout:
    """A repository at a branch."""

    folder: str
    branch: str

    def git(self, *arguments: str) -> str:
        return subprocess.run(["git", "-C", self.folder, *arguments], check=True, capture_output=True, text=True).stdout

    def text(self, path: str) -> str:
        return self.git("show", f"{self.branch}:{path}")


def conf_keys(text: str) -> Iterator[str]:
    """The keys of every `ovnkube.conf` in a manifest template; comments are skipped."""
    text = re.sub(r"(?s)\{\{-? */\*.*?\*/ *-?\}\}", "", text)
    section = ""
    for line in map(str.strip, text.split("\n")):
        if header := re.fullmatch(r"\[([a-z-]+)\]", line):
            section = header[1]
        elif line.startswith("---"):
            section = ""
        elif section and (key := re.match(r"([a-z][A-Za-z0-9-]*) *=", line)):
            yield f"conf {section}/{key[1]}"


def script_names(text: str) -> Iterator[str]:
    """The options in a script, and the literals in its template expressions."""
    lines = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    yield from (f"option {name}" for name in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", lines))
    yield from literals(lines)


def literals(text: str) -> Iterator[str]:
    """The names that a template inserts or tests in conditions."""
    for block in re.findall(r"\{\{(.*?)\}\}", text):
        yield from (f"literal {name}" for name in re.findall(r"(?<![\w.])\.([A-Za-z][A-Za-z0-9_]*)", block))


def read_variables(text: str) -> Iterator[str]:
    """The environment variables that a script reads."""
    lines = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    found = set(re.findall(r"\$\{([A-Z][A-Z0-9_]+)", lines))
    own = set(re.findall(r"(?m)^\s*(?:local )?([A-Z][A-Z0-9_]+)=", lines))
    yield from (f"reads {name}" for name in found - own)


def arguments(text: str, library: str) -> Iterator[str]:
    """The literals that a DaemonSet passes to functions of the script library."""
    functions = "|".join(re.findall(r"(?m)^ *(?:function )?([a-z][a-z-]+) *\(\)", library))
    found = re.findall(rf"(?m)^ *(?:{functions}) (.*\{{\{{.*)$", text)
    yield from literals("\n".join(found))


def daemonset_variables(text: str) -> Iterator[str]:
    """The variables of all containers, and the keys of the ConfigMaps that they come from."""
    yield from (f"variable {name}" for name in re.findall(r"- name: \"?([A-Z][A-Z0-9_]+)\"?\s*$", text, re.MULTILINE))
    reference = r"configMapKeyRef:\s+name: (\S+)\s+key: (\S+)"
    yield from (f"key {name}/{key}" for name, key in re.findall(reference, text))


def config_map_keys(text: str) -> Iterator[str]:
    """The keys of the ConfigMaps in a manifest."""
    for document in re.split(r"(?m)^---", text):
        name = re.search(r"(?m)^  name: (\S+)$", document)
        _, found, data = document.partition("\ndata:\n")
        if name and found and "kind: ConfigMap" in document:
            yield from (f"key {name[1]}/{key}" for key in re.findall(r"(?m)^  ([A-Za-z_.]+):", data))


def openshift(checkout: Checkout) -> tuple[str, list[str], set[str]]:
    """The settings that the cluster-network-operator renders."""
    present = checkout.git("ls-tree", "-r", "--name-only", checkout.branch, _BINDATA).split("\n")
    library = checkout.text(f"{_BINDATA}/common/008-script-lib.yaml")
    names: set[str] = set()
    paths: list[str] = []
    for path in present:
        if path.endswith("/004-config.yaml"):
            names.update(conf_keys(checkout.text(path)))
        elif path.endswith("/008-script-lib.yaml"):
            names.update(script_names(library), read_variables(library))
        elif path.endswith("/ovnkube-node.yaml"):
            text = checkout.text(path)
            names.update(daemonset_variables(text), arguments(text, library))
        else:
            continue
        paths.append(path)
    return "github.com/openshift/cluster-network-operator", paths, names


def central(checkout: Checkout) -> tuple[str, list[str], set[str]]:
    """The settings that the same operator renders for a tenant with central databases, all in one file."""
    repository = "github.com/openshift/cluster-network-operator"
    paths = [f"{_BINDATA}/{kind}/004-config.yaml" for kind in ("managed", "self-hosted")]
    return repository, paths, {name for path in paths for name in conf_keys(checkout.text(path))}


def upstream(checkout: Checkout) -> tuple[str, list[str], set[str]]:
    """The settings in the chart of a cluster with a zone on each node, and in the start script of its containers."""
    charts = [
        f"{_CHART}/charts/{name}/templates/{name}.yaml"
        for name in ("ovnkube-single-node-zone", "ovnkube-node-dpu-host")
    ]
    setup = f"{_CHART}/templates/ovn-setup.yaml"
    names = {name for path in charts for name in daemonset_variables(checkout.text(path))}
    names.update(conf_keys(checkout.text(setup)), config_map_keys(checkout.text(setup)))
    script = checkout.text(_SCRIPT)
    start = re.search(r"(?ms)^ovnkube-controller-with-node\(\) \{.*?^\}", script)
    assert start is not None
    names.update(name for name in script_names(start[0]) if name.startswith("option "))
    names.update(read_variables(script))
    return "github.com/ovn-kubernetes/ovn-kubernetes", [*charts, setup, _SCRIPT], names


def program(checkout: Checkout) -> tuple[str, list[str], set[str]]:
    """The settings that ovnkube accepts in `ovnkube.conf`, from its configuration structs and their sections."""
    path = "go-controller/pkg/config/config.go"
    text = checkout.text(path)
    structures = {
        name: re.findall(r'gcfg:"([A-Za-z0-9-]+)"', body)
        for name, body in re.findall(r"(?ms)^type (\w+) struct \{(.*?)^\}", text)
    }
    embedded = {
        name: re.findall(r"(?m)^\t(\w+)$", body)
        for name, body in re.findall(r"(?ms)^type (\w+) struct \{(.*?)^\}", text)
    }
    names: set[str] = set()
    [sections] = re.findall(r"(?ms)^type config struct \{(.*?)^\}", text)
    for member, structure, tag in re.findall(r'(?m)^\t(\w+) +(\w+)(?: +`gcfg:"([a-z-]+)"`)?$', sections):
        for part in (structure, *embedded[structure]):
            names.update(f"conf {tag or member.lower()}/{key.lower()}" for key in structures[part])
    return "github.com/ovn-kubernetes/ovn-kubernetes", [path], names


def main(source: str, folder: str, branch: str) -> None:
    checkout = Checkout(folder, branch)
    repository, paths, names = {"openshift": openshift, "central": central, "upstream": upstream, "ovnkube": program}[
        source
    ](checkout)
    commit = checkout.git("rev-parse", f"{branch}^{{commit}}").strip()
    print(f"# repository: {repository}\n# branch: {branch}\n# commit: {commit}")
    print("\n".join(f"# path: {path}" for path in sorted(paths)))
    print("\n".join(sorted(names)))


if __name__ == "__main__":
    main(*sys.argv[1:])
