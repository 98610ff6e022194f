"""A tenant's caches are bounded, and have room for what is read of them."""

from __future__ import annotations

from dpunetop.app.clusterbuild import TENANT_TRANSFORMS, tenant_weight
from dpunetop.base import jsonio
from dpunetop.kube.keys import LEASES
from dpunetop.kube.requests import Selection


def test_a_lease_of_a_tenant_is_cut_and_then_fits_in_what_it_may_weigh() -> None:
    metadata = {
        "name": "n" * 253,
        "namespace": "s" * 63,
        "uid": "u" * 36,
        "resourceVersion": "9" * 19,
        "managedFields": [{"manager": "m", "fieldsV1": {f"f:{number}": {} for number in range(10_000)}}],
    }
    spec = {"renewTime": "2026-11-28T13:41:08.123456Z", "leaseDurationSeconds": 40, "holderIdentity": "h" * 100_000}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    kept = TENANT_TRANSFORMS[LEASES](lease)
    assert jsonio.weigh(jsonio.dumps(kept)) * 2 < tenant_weight(Selection(LEASES)) == 8 << 10
