"""The repository speaks of itself: its texts are right, and hold nothing of the machine they were written on."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.app.settings import parse_settings
from dpunetop.domain import names
from dpunetop.sandbox.operatorprocess import IMAGE_ENVIRONMENT

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
CONTAINERFILE = (ROOT / "Containerfile").read_text()
PINNED = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-build.txt",
    "requirements-supply.txt",
    "requirements-docs.txt",
    "requirements-cli.txt",
)
# Spelled in parts, so that this file does not find itself.
FOREIGN = [
    r"/" + r"work/(main|shared)",
    r"/" + r"tmp/v/",
    r"/" + r"opt/wheels",
    r"find" + r"-links",
    r"(?<![-\w])--(extra-)?index" + r"-url",
    r"py" + r"pi\.org",
    r"python" + r"hosted",
    r"proxy" + r"\.golang",
]
PRIVATE_KEY = "-----BEGIN " + r"[A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{40}"


def tracked() -> list[Path]:
    """Files that belong to the repository; without git, all that are not made by tools."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not path.relative_to(ROOT).parts[0].startswith(".")]


def text_of(path: Path) -> str:
    return path.read_text(errors="replace")


def blocks(language: str) -> list[str]:
    """Fenced blocks of the README in one language, without the indentation of the list that they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


@pytest.mark.parametrize("pattern", FOREIGN)
def test_no_file_names_a_place_of_one_machine_or_a_host_of_packages(pattern: str) -> None:
    own = Path(__file__)
    makes = ROOT / "Makefile"  # tells pip-compile to leave them out
    found = [path for path in tracked() if path not in (own, makes) and re.search(pattern, text_of(path))]
    assert found == []


def test_no_file_holds_a_private_key() -> None:
    assert [path for path in tracked() if re.search(PRIVATE_KEY, text_of(path))] == []


def test_no_file_is_left_of_an_older_name_of_the_resource() -> None:
    old = "ovnkube" + "configs"
    assert [path for path in tracked() if old in path.name.lower()] == []


def test_the_readmes_yaml_is_the_quick_start() -> None:
    entries, config = (yaml.safe_load(block) for block in blocks("yaml"))
    assert entries == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": names.ENV_OVERRIDES, "namespace": "default"},
        "data": {"bf2-worker-advnetlab13": f"{names.TENANT_NODE_ENV}=worker-advnetlab13\n"},
    }
    assert config == {
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "kind": "DpuClusterConfig",
        "metadata": {"name": "dpuclusterconfig-sample", "namespace": "default"},
        "spec": {
            "kubeConfigFile": "tenant-cluster-1-kubeconf",
            "poolName": "dpu",
            "nodeSelector": {"matchLabels": {names.DPU_WORKER_LABEL: ""}},
        },
    }


def test_the_samples_are_the_quick_start_too() -> None:
    sample = yaml.safe_load((ROOT / "config" / "samples" / "dpuclusterconfig.yaml").read_text())
    assert sample["spec"] == yaml.safe_load(blocks("yaml")[1])["spec"]


def test_every_path_that_the_documents_name_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("docs/**/*.md"))]
    missing = {
        (document.name, link)
        for document in documents
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / link).exists()
    }
    assert missing == set()


def test_every_module_in_the_tree_of_the_architecture_exists() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text().split("src/dpunetop/\n")[1].split("```")[0]
    entries = re.findall(r"^( +)(\S+)", tree, re.MULTILINE)
    folders: dict[int, Path] = {0: ROOT / "src" / "dpunetop"}
    missing = []
    for indent, name in entries:
        path = folders[len(indent) // 2 - 1] / name
        folders[len(indent) // 2] = path
        missing += [] if path.exists() else [path]
    assert len(entries) > 40
    assert missing == []


def test_every_make_target_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"sandbox", "test", "run"} <= named <= targets


def test_every_flag_that_the_readme_lists_is_taken() -> None:
    listed = re.findall(r"^\| `(--[a-z-]+)`", README, re.MULTILINE)
    samples = {
        "--metrics-bind-address": "0",
        "--health-probe-bind-address": "0",
        "--metrics-secure": "true",
        "--leader-elect": "true",
        "--leader-elect-lease-duration": "15s",
        "--max-concurrent-reconciles": "16",
        "--resync-period": "10m",
        "--log-level": "info",
        "--log-format": "json",
        "--allowed-images": "registry.example/ovn/",
        "--tenant-allowed-cidrs": "127.0.0.0/8",
        "--tenant-proxy-url": "http://proxy.example:3128",
    }
    assert len(listed) > 10
    for flag in listed:
        parse_settings([f"{flag}={samples.get(flag, 'some-value')}"], {"NAMESPACE": "default"})


@pytest.mark.parametrize("name", PINNED)
def test_every_pinned_package_has_a_version_and_hashes(name: str) -> None:
    lines = [
        line for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines() if line and line[0] not in "# "
    ]
    assert lines
    assert [line for line in lines if not re.match(r"[a-z0-9._-]+==\S+.* --hash=sha256:[0-9a-f]{64}", line)] == []


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_tests_run_with_the_versions_that_are_shipped() -> None:
    shipped = pins("requirements.txt")
    assert shipped.items() <= pins("requirements-dev.txt").items()


def test_no_package_replaces_urllib3_by_a_fork() -> None:
    assert {"urllib3-future", "niquests"}.isdisjoint(pins("requirements-dev.txt"))


def test_every_dependency_is_pinned() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = re.findall(r"^([A-Za-z0-9-]+)", setup["options"]["install_requires"].strip(), re.MULTILINE)
    assert {name.lower() for name in wanted} <= set(pins("requirements.txt"))


def instructions(keyword: str) -> list[str]:
    return re.findall(rf"^{keyword} (.*)$", CONTAINERFILE.replace("\\\n", " "), re.MULTILINE)


def test_the_image_is_built_in_two_stages_of_which_the_second_runs_as_nobody() -> None:
    assert [line.split()[0] for line in instructions("FROM")] == ["${BUILDER}", "${RUNTIME}"]
    assert instructions("USER")[-1] == "1001:0"


def test_the_image_installs_by_hash_and_compiles_nothing() -> None:
    installs = [part for line in instructions("RUN") for part in line.split("&&") if "pip install" in part]
    assert all("--require-hashes" in part or "--no-deps /dist/" in part for part in installs)
    assert "PIP_ONLY_BINARY=:all:" in CONTAINERFILE


@pytest.mark.parametrize("name", ["Containerfile", "Makefile", "tox.ini"])
def test_what_is_installed_is_the_lock_and_nothing_is_chosen_anew(name: str) -> None:
    """Without --no-deps pip still resolves, and `coverage[toml]` made it leave the pin for a version of that day."""
    installs = [line for line in (ROOT / name).read_text().splitlines() if "--require-hashes" in line]
    assert installs
    assert all("--no-deps" in line for line in installs)


def test_the_image_copies_only_what_exists() -> None:
    sources = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_images_entrypoint_needs_no_shell_and_names_this_package() -> None:
    [entrypoint] = instructions("ENTRYPOINT")
    words: list[Any] = json.loads(entrypoint)
    assert words[-2:] == ["-m", "dpunetop"]
    assert (ROOT / "src" / "dpunetop" / "__main__.py").is_file()


def test_python_in_the_image_reads_no_environment_of_its_own() -> None:
    assert "-I" in json.loads(instructions("ENTRYPOINT")[0])
    assert "PYTHON" not in " ".join(instructions("ENV"))


def test_the_operator_of_the_sandbox_has_the_environment_of_the_image() -> None:
    last_stage = CONTAINERFILE.rpartition("\nFROM ")[2]
    [setting] = re.findall(r"^ENV (.*)$", last_stage, re.MULTILINE)
    assert dict(word.split("=") for word in setting.split()) == IMAGE_ENVIRONMENT


def test_hooks_before_a_commit_are_local_programs_that_are_pinned() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    programs = {hook["entry"].split()[0].removeprefix(".venv/bin/") for repo in repos for hook in repo["hooks"]}
    packages = {"lint-imports": "import-linter", "detect-secrets-hook": "detect-secrets"}
    pinned = (ROOT / "requirements-dev.txt").read_text()
    assert [repo["repo"] for repo in repos] == ["local"]
    assert [name for name in programs if f"\n{packages.get(name, name)}==" not in pinned] == []


def test_settings_of_tools_are_in_setup_cfg_and_the_makefile() -> None:
    """One place to look: pyproject.toml says how the package is built, and nothing else."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text()).keys() == {"build-system"}
