"""How the time of each reader of foreign text grows with the text: twice the text may cost about twice the time."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from bench.report import Bar, Report
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, read_ovnkube_conf
from dpunetop.domain.ovnkube.scriptlib import read_library
from dpunetop.domain.ovnkube.settingstable.openshift import LITERALS, OPTIONS
from dpunetop.domain.pairing.envfile import parse_entries
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected
from dpunetop.domain.tenant.pem import BadPem, certificates, private_key

MOST_GROWTH = 3.0
"""Linear is 2 with noise, quadratic 4."""
MOST_SECONDS = 0.5
_KIB = 1024
_LEAST_SECONDS = 0.02
"""So much is measured at least, since a shorter time says nothing."""

Reader = Callable[[str], object]


def _quietly(read: Callable[[bytes], object]) -> Reader:
    def call(text: str) -> None:
        with suppress(BadPem, KubeconfigRejected, BadOvnkubeConf):
            read(text.encode())

    return call


def _literals(text: str) -> None:
    for row in LITERALS.values():
        for spelling in row.spellings:
            spelling.search(text)


def run(report: Report) -> None:
    """Measure each reader on each text at half of its limit and at its limit."""
    for name, (read, limit, texts) in _READERS.items():
        halves, wholes = texts(limit // 2), texts(limit)
        times = [(_seconds(read, half), _seconds(read, whole)) for half, whole in zip(halves, wholes, strict=True)]
        report.add("parsers", f"{name}: growth, twice the text", max(b / a for a, b in times), "×", Bar(MOST_GROWTH))
        report.add("parsers", f"{name}: slowest text at the limit", max(b for _, b in times), "s", Bar(MOST_SECONDS))
        report.details[f"parsers {name}"] = times


def _seconds(read: Reader, text: str) -> float:
    """The fastest of three rows of calls, per call."""
    begun = time.process_time()
    read(text)
    calls = max(1, int(_LEAST_SECONDS / max(time.process_time() - begun, 1e-6)))
    return min(_row(read, text, calls) for _ in range(3)) / calls


def _row(read: Reader, text: str, calls: int) -> float:
    begun = time.process_time()
    for _ in range(calls):
        read(text)
    return time.process_time() - begun


def _filled(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def _pems(size: int, label: str) -> list[str]:
    begin, end = f"-----BEGIN {label}-----\n", f"\n-----END {label}-----\n"
    room = size - len(begin) - len(end)
    units = (begin, "-----BEGIN ", "-----BEGIN A", "-", begin + end, begin + "MAAA" + end)
    return [
        *(_filled(unit, size) for unit in units),
        *(begin + _filled(unit, room) + end for unit in ("A", " ", "MIIB")),
    ]


def _kubeconfigs(size: int) -> list[str]:
    inner = size - 200
    token = json.dumps({"users": [{"name": "u", "user": {"token": _filled("a", inner)}}]})
    pem = base64.b64encode(_filled("-----BEGIN A", inner * 3 // 4).encode()).decode()
    authority = json.dumps({"clusters": [{"cluster": {"certificate-authority-data": pem}}]})
    units = ("a: ", "[", "- ", "a,", '"', "\\", "  ", "k1: v\n", "#\n", "'\n", "| \n", "? ", "\t")
    return [token, authority, *(_filled(unit, size) for unit in units), "{a: " + _filled(" ", inner) + "x}"]


def _confs(size: int) -> list[str]:
    units = (" ", "= ", "a=\n", "[default]\n", ";\n", '"', "\\\n", "mtu= ", "#")
    lines = "".join(f"k{number}=1\n" for number in range(size // 10))[:size]
    return [*("[default]\n" + _filled(unit, size - 10) for unit in units), "[default]\nmtu=" + " " * (size - 16) + ";",
            "[default]\n" + lines[: size - 10]]  # fmt: skip


def _entries(size: int) -> list[str]:
    units = (" ", "A", "A=", "A=\n", "#\n", "=", "DPU_IP=1\n", "\t\n", "TENANT_K8S_NODE=a-", "- ")
    return [_filled(unit, size) for unit in units]


def _libraries(size: int) -> list[str]:
    units = (
        "--a",
        "--a=--a=,",
        "--a ",
        "if [[ x\n",
        "fi\n",
        '"a" == ',
        "else\n",
        "-",
        "elif \n",
        "#\n",
        " ",
        '--join "',
    )
    return [_filled(unit, size) for unit in (*units, "--n-threads=", "MAXFILESIZE=$(( ", "-t 1 ", "ovn-nbctl -t ")]


_READERS: Mapping[str, tuple[Reader, int, Callable[[int], list[str]]]] = {
    "PEM, certificates": (_quietly(certificates), 64 * _KIB, lambda n: _pems(n, "CERTIFICATE")),
    "PEM, key": (_quietly(private_key), 64 * _KIB, lambda n: _pems(n, "PRIVATE KEY")),
    "kubeconfig": (_quietly(parse_kubeconfig), 256 * _KIB, _kubeconfigs),
    "ovnkube.conf": (_quietly(lambda data: read_ovnkube_conf(data.decode())), 64 * _KIB, _confs),
    "env-overrides": (lambda text: parse_entries({"dpu": text}), 16 * _KIB, _entries),
    "script library": (lambda text: read_library(text, OPTIONS), 128 * _KIB, _libraries),
    "literals of scripts": (_literals, 128 * _KIB, _libraries),
}
"""By name: what reads, the most that it reads, and texts of a given size that are as bad as we know."""
