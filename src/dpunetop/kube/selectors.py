"""Label and field selectors: as text for the server, and matched against labels here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def by_name(name: str) -> str:
    """Field selector for the one object of that name; the authoriser takes the name from it."""
    return f"metadata.name={name}"


def by_labels(labels: Mapping[str, str]) -> str:
    """Label selector that wants each of `labels`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a `metav1.LabelSelector` selects something with these labels.

    Guarantees: an empty selector matches nothing here, because MachineConfigPools read it so; an unknown operator
        matches nothing.
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
