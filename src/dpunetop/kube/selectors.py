"""Label and field selectors: as text for the server, and matched against labels here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,316}"
_VALUE = re.compile(r"[A-Za-z0-9._-]{0,63}")
_EXISTS = re.compile(rf"(!?)({_KEY})")
_EQUALS = re.compile(rf"({_KEY})(==|!=|=)([A-Za-z0-9._-]{{0,63}})")
_SET = re.compile(rf"({_KEY}) (in|notin)\(([^()]*)\)")
_SPACES = re.compile(r" ?(==|!=|=|!|,|\(|\)) ?")
_MOST_CHARS = 2000


def by_name(name: str) -> str:
    """Field selector for the one object of that name; the RBAC authorizer takes the name from it."""
    return f"metadata.name={name}"


def by_labels(labels: Mapping[str, str]) -> str:
    """Label selector that requires each of `labels`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def parse_selector(text: str) -> Mapping[str, Any] | None:
    """Parse a label selector as `kubectl -l` takes it into a `metav1.LabelSelector`; None: it is invalid.

    Source: Kubernetes, "Labels and Selectors"; `>` and `<` are rejected, since a LabelSelector has no such operator.
    """
    if len(text) > _MOST_CHARS:
        return None
    plain = _SPACES.sub(r"\1", " ".join(text.split()))
    expressions = [_requirement(each) for each in _requirements(plain)]
    found = [each for each in expressions if each is not None]
    return {"matchExpressions": found} if len(found) == len(expressions) else None


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a `metav1.LabelSelector` selects an object with these labels.

    Guarantees: an empty selector matches nothing, as MachineConfigPools define it; an unknown operator matches nothing.
    Source: Kubernetes API reference, LabelSelector.
    """
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    if not wanted and not expressions:
        return False
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _expression_holds(expression, labels) for expression in expressions
    )


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.get("key", ""))
    values = expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False


def _requirements(text: str) -> Iterable[str]:
    """The requirements: the parts between commas that are not in parentheses."""
    begun = ""
    for piece in text.split(",") if text else ():
        begun = f"{begun},{piece}" if begun else piece
        if begun.count("(") == begun.count(")"):
            yield begun
            begun = ""
    if begun:
        yield begun


def _requirement(text: str) -> dict[str, Any] | None:
    if found := _EXISTS.fullmatch(text):
        return {"key": found[2], "operator": "DoesNotExist" if found[1] else "Exists"}
    if found := _EQUALS.fullmatch(text):
        return {"key": found[1], "operator": "NotIn" if found[2] == "!=" else "In", "values": [found[3]]}
    found = _SET.fullmatch(text)
    values = found[3].split(",") if found else []
    if found is None or not all(_VALUE.fullmatch(value) for value in values):
        return None
    return {"key": found[1], "operator": "In" if found[2] == "in" else "NotIn", "values": values}
