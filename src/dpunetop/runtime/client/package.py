"""Imports single modules of the `kubernetes` package without what its `__init__` modules import.

`import kubernetes` loads websockets, OAuth and pydantic: 15 MiB and 0.4 s that a process in a pod does not need.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

_PACKAGES = ("kubernetes", "kubernetes.utils", "kubernetes.config")  # parents first


def import_bare() -> None:
    """Register its packages without running their `__init__`, so that an import of a module loads only that module.

    Import names from the modules that define them, since these packages export nothing.
    Guarantees: a package that was imported before is left unchanged.
    Threads: any.
    """
    for name in _PACKAGES:
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            sys.modules.setdefault(name, module_from_spec(spec))
