"""Every place in which a check of the preflight reaches a verdict, and which of them some trial has come to."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import getsource
from typing import Any

import pytest

from dpunetop.domain.doctor import cluster, credentials, model, nodes, pools, rights, tenants

Site = tuple[str, str, int]
"""Module, what is said there, and the line."""

_ROOMS = (cluster, credentials, nodes, pools, rights, tenants)
_SAID = ("ok", "warn", "fail")
_UNSEEN = model.NotLookedAt.__name__


def sites() -> set[Site]:
    """Each call of `ok`, `warn`, `fail` and `NotLookedAt` in the checks."""
    return {
        (room.__name__, node.func.id, node.lineno)
        for room in _ROOMS
        for node in ast.walk(ast.parse(getsource(room)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (*_SAID, _UNSEEN)
    }


@contextmanager
def recorded() -> Iterator[set[Site]]:
    """The sites that are come to meanwhile."""
    found: set[Site] = set()

    def recording(said: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            frame = sys._getframe(1)
            found.add((frame.f_globals["__name__"], said, frame.f_lineno))
            return original(*arguments, **named)

        return called

    with pytest.MonkeyPatch.context() as patch:
        for room in _ROOMS:
            for said in _SAID:
                if hasattr(room, said):
                    patch.setattr(room, said, recording(said, getattr(model, said)))
        patch.setattr(model.NotLookedAt, "__init__", recording(_UNSEEN, model.NotLookedAt.__init__))
        yield found
