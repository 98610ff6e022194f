"""What the conditions of DpuClusterConfigs have said one after the other, as the API server remembers it."""

from __future__ import annotations

import json
from typing import NamedTuple

from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import AdminClient


class Said(NamedTuple):
    """One statement of a condition, as it was first worded."""

    status: str
    reason: str
    message: str

    @property
    def meaning(self) -> tuple[str, str]:
        """What it says beside how far something is; of what is Unknown only the message says what that is."""
        return self.status, self.message if self.status == "Unknown" else self.reason


class History:
    """The conditions in one namespace, from the moment of its making on.

    Guarantees: nothing is left out, as long as the server's watch cache holds it (some hundred changes at least).
    Threads: one.
    """

    def __init__(self, admin: AdminClient, namespace: str) -> None:
        self._admin = admin
        self._path = get(DPUCLUSTERCONFIGS, namespace, "").target.rstrip("/")
        self._since = str(admin.get(self._path)["metadata"]["resourceVersion"])

    def said(self) -> dict[str, list[Said]]:
        """By type of condition: what it said, in order; other words for the same are left out."""
        lines = self._admin.text(self._path, watch="1", resourceVersion=self._since, timeoutSeconds="1")
        said: dict[str, list[Said]] = {}
        for line in lines.splitlines():
            for condition in (json.loads(line)["object"].get("status") or {}).get("conditions") or []:
                now = Said(condition["status"], condition["reason"], condition["message"])
                before = said.setdefault(condition["type"], [])
                if not before or before[-1].meaning != now.meaning:
                    before.append(now)
        return said

    def returns(self) -> dict[str, list[Said]]:
        """Those conditions that said something, then something else, and then the first again."""
        return {type_: said for type_, said in self.said().items() if len({s.meaning for s in said}) < len(said)}
