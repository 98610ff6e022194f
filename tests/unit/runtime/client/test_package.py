from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_IN_A_POD = """
import sys
from pathlib import Path
from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.metrics import Metrics

folder = Path(sys.argv[1])
environ = {"KUBERNETES_SERVICE_HOST": "infra.test", "KUBERNETES_SERVICE_PORT": "443"}
connection = infra_connection(None, environ, folder)
Transport(connection, Stop(), user_agent="me", metrics=Metrics().client("infra"), clock=RealClock())
print(connection.url, *sorted({name.partition(".")[0] for name in sys.modules}))
"""

_BEFORE = """
import kubernetes.config
from dpunetop.runtime.client.package import import_bare

import_bare()
print(kubernetes.__version__, kubernetes.config.load_kube_config.__name__, kubernetes.utils.parse_quantity("1"))
"""


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    from support.pki import pair

    (tmp_path / "token").write_text("token")
    (tmp_path / "ca.crt").write_bytes(pair("ca").cert)
    return tmp_path


def said(program: str, *arguments: str) -> list[str]:
    argv = [sys.executable, "-c", program, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_a_connection_of_a_pod_is_made_without_what_it_does_not_need(service_account: Path) -> None:
    url, *packages = said(_IN_A_POD, str(service_account))
    assert url == "https://infra.test:443"
    assert "urllib3" in packages
    assert not {"pydantic", "requests", "oauthlib", "websocket", "dateutil"} & set(packages)


def test_a_package_that_somebody_else_has_imported_stays_whole() -> None:
    assert said(_BEFORE)[1:] == ["load_kube_config", "1"]
