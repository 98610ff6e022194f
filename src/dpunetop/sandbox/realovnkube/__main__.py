"""`python -m dpunetop.sandbox.realovnkube OVNKUBE COMMAND…` runs a command in namespaces of its own, with an `ovnkube`.

Without an `ovnkube` it prints so and runs nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dpunetop.sandbox.realovn import namespaces
from dpunetop.sandbox.realovn.packages import SUITE_VARIABLE, Unavailable
from dpunetop.sandbox.realovnkube.program import VARIABLE, ovnkube_at

# ovnkube refuses a database schema older than its own, and stable Debian ships older ones.
_SUITE = "sid"


def main(arguments: Sequence[str]) -> int:
    """The exit code of the command; 0 if no `ovnkube` is named, 1 if the named one cannot be used."""
    path, *command = arguments
    if not path:
        line = "=" * 100
        print(
            f"{line}\nSKIPPED: the real ovnkube was not run. Name one: {VARIABLE}=/path/to/ovnkube; "
            f"docs/real-ovn.md says where to get it.\n{line}",
            file=sys.stderr,
            flush=True,
        )
        return 0
    try:
        ovnkube = ovnkube_at(path)
    except Unavailable as err:
        print(f"no ovnkube: {err}", file=sys.stderr)
        return 1
    print(f"ovnkube {ovnkube.version}", file=sys.stderr, flush=True)
    os.environ[VARIABLE] = str(ovnkube.path)
    os.environ.setdefault(SUITE_VARIABLE, _SUITE)
    return namespaces.main(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
