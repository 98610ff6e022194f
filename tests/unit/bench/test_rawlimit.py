from __future__ import annotations

import json
from typing import Any, cast

from bench.rawlimit import Target, measure
from bench.writes import Write

PATH = "/apis/dpu.openshift.io/v1alpha1/namespaces/ns/dpunodes/dpu0"


class Server:
    """Takes every apply that names the version of the one before it, and gives each a new version."""

    def __init__(self) -> None:
        self.version = 0

    def connect(self) -> Server:
        return self

    def close(self) -> None:
        pass

    def send(self, connection: Server, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        named = json.loads(body)["metadata"]["resourceVersion"]
        if named not in ("1", str(self.version)):
            return 409, b"{}"
        self.version += 7
        return 200, json.dumps({"metadata": {"uid": "new", "resourceVersion": str(self.version)}}).encode()


def write(path: str, **metadata: Any) -> Write:
    return Write("patch", path, "fieldManager=m&force=true", "dpunodes", 200, 0.0, 0.0, {"metadata": metadata})


def test_a_status_names_the_version_that_the_write_of_its_object_left() -> None:
    made, told = write(PATH, resourceVersion="1"), write(f"{PATH}/status", uid="old", resourceVersion="99")
    for connections in (1, 4, 16):
        assert measure(cast(Target, Server()), (made, told), connections).writes == 2
