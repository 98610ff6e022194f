"""Maps an object from a file to its resource, among those that the operator reads or writes."""

from __future__ import annotations

from typing import Final

from dpunetop.app.commands.flags import UsageError
from dpunetop.base.quoting import printable
from dpunetop.domain import names
from dpunetop.kube import keys
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj

_KNOWN = {
    (each.api_version, each.kind): each
    for module in (keys, names)
    for each in vars(module).values()
    if isinstance(each, Resource)
}
KNOWN: Final = frozenset(_KNOWN.values())
"""Every kind that the operator reads or writes."""


def resource_of(obj: Obj) -> Resource:
    """The resource. Raises: UsageError for one that the operator does not know."""
    known = _KNOWN.get((obj["apiVersion"], obj["kind"]))
    if known is None:
        kind = printable(f"{obj['apiVersion']} {obj['kind']}", 100)
        raise UsageError(f"the operator reads no {kind}; leave it out")
    return known
