"""The `kubernetes` package, of which we use a few modules, without the many that its packages import on their own.

`import kubernetes` brings websockets, OAuth and pydantic: 15 MiB and 0.4 s, for nothing that a process in a pod does.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

_PACKAGES = ("kubernetes", "kubernetes.utils", "kubernetes.config")  # parents first


def import_bare() -> None:
    """Have its packages in place without running their `__init__`, so that what is imported from beneath comes alone.

    Names are to be imported from the modules that define them, because these packages export nothing.
    Guarantees: a package that was imported before stays as it is.
    Threads: any.
    """
    for name in _PACKAGES:
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            sys.modules.setdefault(name, module_from_spec(spec))
