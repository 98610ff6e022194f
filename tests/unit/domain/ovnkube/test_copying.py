import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.names import OWNER_LABEL
from dpunetop.domain.ovnkube.copies import AUTHORITY, CERTIFICATE, SOURCES
from dpunetop.domain.ovnkube.copying import CopiedObject, TenantObjectsView, ends_of, plan_tenant_objects
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Plan
from support.objects import config
from support.pki import pair

OWNER = Owner(config(), "0123")


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


SEEN: dict[str, dict[str, Any]] = {
    "ovn-cert": {
        "metadata": {"name": "ovn-cert"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": text(pair().cert), "tls.key": text(pair().key), "extra": "eA=="},
    },
    "ovn-ca": {"metadata": {"name": "ovn-ca"}, "data": {"ca-bundle.crt": pair().cert.decode()}},
    "ovnkube-config": {"metadata": {"name": "ovnkube-config"}, "data": {"ovnkube.conf": "[default]\nmtu=1400\n"}},
}
VIEW = TenantObjectsView(
    parse_config(config()),
    OWNER,
    tuple(CopiedObject(source, SEEN[source.name], None) for source in SOURCES),
    None,
    "m",
    datetime(2026, 6, 1, tzinfo=UTC),
)


def copy(name: str, labels: dict[str, Any] | None = None, **members: Any | str) -> dict[str, Any]:
    metadata = {"name": name, "uid": "u", "labels": {OWNER_LABEL: "0123"} if labels is None else labels}
    return {"metadata": metadata, **members}


def with_pair(pair_: CopiedObject) -> TenantObjectsView:
    return replace(VIEW, pairs=tuple(pair_ if pair_.source is other.source else other for other in VIEW.pairs))


def written(plan: Plan) -> list[str]:
    return [step.desired["metadata"]["name"] for step in plan.steps if isinstance(step, Apply)]


def said(plan: Plan) -> tuple[str, str]:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return status.conditions[0].status, status.conditions[0].reason


def test_all_three_are_copied_with_listed_keys_only() -> None:
    plan = plan_tenant_objects(VIEW)
    assert written(plan) == ["ovn-cert", "ovn-ca", "ovnkube-config"]
    assert said(plan) == ("True", "Synced")
    (cert,) = [s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "Secret"]
    assert sorted(cert["data"]) == ["tls.crt", "tls.key"]


def test_a_tenant_that_cannot_be_read_changes_nothing() -> None:
    plan = plan_tenant_objects(replace(VIEW, pairs=(), blind="not engaged"))
    assert written(plan) == []
    assert said(plan) == ("Unknown", "TenantNotRead")


BAD = {
    "absent": (CopiedObject(AUTHORITY, None, copy("ovn-ca")), "NotFound"),
    "garbage": (CopiedObject(AUTHORITY, {"metadata": {}, "data": {"ca-bundle.crt": "x"}}, copy("ovn-ca")), "Invalid"),
    "somebody else's in our place": (CopiedObject(AUTHORITY, SEEN["ovn-ca"], copy("ovn-ca", {})), "NotOurs"),
    "our copy on its way out": (
        CopiedObject(
            AUTHORITY,
            SEEN["ovn-ca"],
            {"metadata": {**copy("ovn-ca")["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        ),
        "Terminating",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_one_that_is_bad_keeps_its_last_copy_and_holds_up_no_other(bad: CopiedObject, reason: str) -> None:
    plan = plan_tenant_objects(with_pair(bad))
    assert written(plan) == ["ovn-cert", "ovnkube-config"]
    assert not [step for step in plan.steps if isinstance(step, Delete)]
    assert said(plan) == ("False", reason)


@pytest.mark.parametrize(
    "live", [copy("ovn-cert", type="Opaque"), copy("ovn-cert", type="kubernetes.io/tls", immutable=True)]
)
def test_a_copy_that_cannot_become_what_it_should_be_makes_way(live: dict[str, Any]) -> None:
    plan = plan_tenant_objects(with_pair(CopiedObject(CERTIFICATE, SEEN["ovn-cert"], live)))
    assert [step.live for step in plan.steps if isinstance(step, Delete)] == [live]
    assert written(plan) == ["ovn-ca", "ovnkube-config"]


ENDS = datetime(2027, 1, 1, tzinfo=UTC)
"""Of the certificate, and of its authority."""


@pytest.mark.parametrize(
    ("now", "expected", "again"),
    [
        (ENDS - timedelta(days=8), ("True", "Synced"), timedelta(hours=6)),
        (ENDS - timedelta(days=7, minutes=5), ("True", "Synced"), timedelta(minutes=5)),
        (ENDS - timedelta(days=6), ("True", "CertificateExpiresSoon"), timedelta(hours=6)),
        (ENDS - timedelta(minutes=1), ("True", "CertificateExpiresSoon"), timedelta(minutes=1)),
        (ENDS, ("False", "CertificateExpired"), None),
    ],
)
def test_a_certificate_that_the_tenant_does_not_renew_is_told_seven_days_before_its_end(
    now: datetime, expected: tuple[str, str], again: timedelta | None
) -> None:
    plan = plan_tenant_objects(replace(VIEW, now=now))
    assert said(plan) == expected
    assert plan.requeue_after_seconds == (None if again is None else again.total_seconds() + 1.0)
    assert written(plan) == ["ovn-cert", "ovn-ca", "ovnkube-config"]


def test_the_object_is_named_and_when_it_ends() -> None:
    plan = plan_tenant_objects(replace(VIEW, now=ENDS))
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    assert "the tenant's Secret ovn-cert ended at 2027-01-01T00:00:00Z" in status.conditions[0].message


def test_an_old_authority_beside_a_new_one_is_no_alarm() -> None:
    bundle = pair("old", 10).cert.decode() + pair().cert.decode()
    seen = {"metadata": {"name": "ovn-ca"}, "data": {"ca-bundle.crt": bundle}}
    assert said(plan_tenant_objects(with_pair(CopiedObject(AUTHORITY, seen, None)))) == ("True", "Synced")


def test_of_a_copy_that_the_tenant_shows_no_more_its_end_stays_known() -> None:
    kept = CopiedObject(CERTIFICATE, None, copy("ovn-cert", **{k: SEEN["ovn-cert"][k] for k in ("type", "data")}))
    assert ends_of(with_pair(kept)) == {"ovn-cert": ENDS, "ovn-ca": ENDS}
