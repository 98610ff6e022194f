"""The operator as its image runs it: by a pod's ServiceAccount, and without the packages that only developers have.

`python -m bench.inpod FOLDER run …` takes token and CA from FOLDER, and the server from the pod's two variables.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(service_account: Path, arguments: list[str]) -> int:
    """Run the operator; its exit code. A kubeconfig among the arguments is not read."""
    vars(sys)["modules"]["rich"] = None  # structlog takes it where it is there, and it is in no image
    from dpunetop.__main__ import main as operator
    from dpunetop.app import wiring
    from dpunetop.runtime.client.kubeconfig import infra_connection

    vars(wiring)["infra_connection"] = lambda _: infra_connection(None, os.environ, service_account)
    return operator(arguments)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
