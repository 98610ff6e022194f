"""The programs of OVN and Open vSwitch: packages of this Debian, unpacked into a folder and never installed.

`python -m dpunetop.sandbox.realovn.packages` creates the folder if necessary and prints it. The machine does not
change: apt uses lists and a cache of its own, no maintainer script runs, no service starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "hostname", "mawk", "sed"),
    *("ethtool", "iproute2", "iptables", "nftables", "procps", "util-linux"),
    *("openvswitch-switch", "ovn-central", "ovn-host"),
)
# In place of maintainer scripts; the links are relative, so that they are valid outside of the root too.
_LINKS: Mapping[str, str] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "sbin": "usr/sbin",
    "var/run": "../run",
    "usr/bin/awk": "mawk",
    "usr/sbin/ovs-vswitchd": "../lib/openvswitch-switch/ovs-vswitchd",
    **{
        f"usr/sbin/{name}{suffix}": "xtables-nft-multi"
        for name in ("iptables", "ip6tables")
        for suffix in ("", "-save", "-restore")
    },
}
_COPIES: Mapping[str, str] = {
    "etc/passwd": "usr/share/base-passwd/passwd.master",
    "etc/group": "usr/share/base-passwd/group.master",
}
# The hooks of the machine's apt would change the machine.
_APT_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::Cache "{work}/cache";
Dir::State "{work}/state";
Dir::State::status "/dev/null";
"""
_OTHER_SUITE = """\
Dir::Etc::SourceList "{work}/sources.list";
Dir::Etc::SourceParts "/dev/null";
"""
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITE_VARIABLE = "DPUNETOP_OVN_SUITE"
"""The variable that names another suite of Debian, for example one with a newer OVN."""
# Not `dpkg-deb --extract`: it replaces the links above with folders.
_EXTRACT = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
_APT_TIMEOUT_SECONDS = 900.0


class Unavailable(Exception):
    """The real OVN cannot run on this machine; one line says why and what to do."""


@dataclass(frozen=True)
class Image:
    """An unpacked root file system, from which programs run read-only."""

    root: Path
    versions: Mapping[str, str]
    """The version of each package."""
    programs: Mapping[str, Path] = field(default_factory=dict)
    """Programs of this machine that take precedence over its own, by name."""

    def __str__(self) -> str:
        return f"OVN {self.versions['ovn-host']}, Open vSwitch {self.versions['openvswitch-switch']} in {self.root}"


def find(environment: Mapping[str, str] = os.environ) -> Image:
    """The image, fetched and unpacked if necessary (about 15 s and 55 MB, once per machine).

    Guarantees: of several processes at once, one fetches and the others wait for it; the folder appears complete or not
        at all.
    Raises: Unavailable.
    """
    folder = cache_folder(environment)
    suite = environment.get(SUITE_VARIABLE)
    if not folder.is_dir():
        _require("apt-get", "bash", "dpkg-deb", "ldconfig", "tar")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _sole_fetcher(folder):
            if not folder.is_dir():
                _fetch(folder, suite)
    return Image(folder / "root", _versions(folder))


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The cache of the image of this suite; another list of packages or another layout has another folder."""
    base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = repr((_PACKAGES, _LINKS, _COPIES, _EXTRACT)).encode()
    digest = hashlib.sha256(recipe).hexdigest()[:8]
    return base / "dpunetop" / "ovn" / f"{_suite(environment)}-{platform.machine()}-{digest}"


def _suite(environment: Mapping[str, str]) -> str:
    if suite := environment.get(SUITE_VARIABLE):
        return f"debian-{suite}"
    try:
        facts = platform.freedesktop_os_release()
    except OSError:
        return "unknown"
    return f"{facts.get('ID', 'unknown')}-{facts.get('VERSION_CODENAME', 'none')}"


def _require(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"this machine has no {', '.join(missing)}: use Debian, or a distribution with apt")


@contextlib.contextmanager
def _sole_fetcher(folder: Path) -> Iterator[None]:
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path, suite: str | None) -> None:
    _say("fetching OVN and Open vSwitch: once per machine, about 15 s")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        archives = _download(Path(scratch), suite)
        staging = Path(scratch) / "image"
        _unpack(archives, staging / "root")
        (staging / "packages").write_text("".join(f"{_name_and_version(file)}\n" for file in archives))
        staging.rename(folder)


def _download(work: Path, suite: str | None) -> list[Path]:
    """Download all packages with all dependencies, as if none were installed."""
    for part in ("cache/archives/partial", "state/lists/partial"):
        (work / part).mkdir(parents=True)
    configuration = work / "apt.conf"
    configuration.write_text(_APT_CONFIGURATION.format(work=work))
    if suite is not None:
        (work / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_archive()} {suite} main\n")
        configuration.write_text((_APT_CONFIGURATION + _OTHER_SUITE).format(work=work))
    apt = ["apt-get", "-qq", f"--config-file={configuration}"]
    # If one of the machine's sources does not answer, the others may hold all packages.
    _, warned = _attempt([*apt, "update"])
    _run([*apt, "install", "--yes", "--download-only", *_PACKAGES], warned)
    return sorted((work / "cache" / "archives").glob("*.deb"))


def _archive() -> str:
    """The package sources of the machine."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False).stdout.split()
    if not found:
        raise Unavailable("apt has no package source; check /etc/apt")
    return found[0]


def _unpack(archives: list[Path], root: Path) -> None:
    for name, target in _LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
        if "/" not in name:
            (root / target).mkdir(parents=True, exist_ok=True)
    for archive in archives:
        _run(["bash", "-o", "pipefail", "-c", _EXTRACT, "extract", str(archive), str(root)])
    for name, source in _COPIES.items():
        shutil.copyfile(root / source, root / name)
    _run(["ldconfig", "-r", str(root)])


def _name_and_version(archive: Path) -> str:
    name, version, _ = archive.name.split("_")
    return f"{name} {version.replace('%3a', ':')}"


def _versions(folder: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in (folder / "packages").read_text().splitlines())


def _run(command: list[str], *before: str) -> None:
    code, said = _attempt(command)
    if code != 0:
        raise Unavailable(f"{command[0]} failed: {'; '.join(filter(None, (*before, said)))}")


def _attempt(command: list[str]) -> tuple[int, str]:
    """The exit code, and the last line of the output."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_APT_TIMEOUT_SECONDS, check=False
    )
    return answer.returncode, "".join((answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Build the image if it does not exist; print its path."""
    try:
        print(find().root)
    except Unavailable as err:
        _say(f"no OVN: {err}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
