"""The Prometheus text format, byte for byte as the Go libraries write it, so that scrapes can be compared with those of
a controller in Go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import itemgetter

from prometheus_client import Metric
from prometheus_client.samples import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text_of(families: Iterable[Metric]) -> bytes:
    """One series a line, families sorted by name; without `_created` series, which the Go libraries lack."""
    lines: list[str] = []
    for name, family in sorted(((_exposed_name(family), family) for family in families), key=itemgetter(0)):
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        if samples:
            lines.append(f"# HELP {name} {family.documentation}")
            lines.append(f"# TYPE {name} {family.type}")
            lines.extend(map(_sample_line, samples))
    return ("\n".join(lines) + "\n").encode()


def _exposed_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _sample_line(sample: Sample) -> str:
    labels = _labels_text(sample.labels) if sample.labels else ""
    return f"{sample.name}{labels} {_go_number(sample.value)}"


def _labels_text(labels: Mapping[str, str]) -> str:
    pairs = (f'{key}="{_go_number(float(value)) if key == "le" else _escape(value)}"' for key, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@lru_cache(maxsize=1024)
def _go_number(value: float) -> str:
    """As Go's `strconv.FormatFloat(value, 'g', -1, 64)`: exponents from a million on, no trailing `.0`."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    text = repr(float(value)).removesuffix(".0")
    if abs(value) < 1e6 or "e" in text:
        return text
    sign, digits = ("-", text[1:]) if value < 0 else ("", text)
    whole, _, fraction = digits.partition(".")
    mantissa = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0").rstrip(".")
    return f"{sign}{mantissa}e+{len(whole) - 1:02d}"
