"""Whether a tenant can be seen: every link that can be written is read back, and every error has its obstacle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.tenant.link import (
    Attempt,
    KubeconfigChoice,
    Linked,
    LinkView,
    TenantDenied,
    TenantUnanswered,
    Unlinked,
    WrongCluster,
    plan_link,
)
from dpunetop.domain.tenant.visibility import (
    Answer,
    Invisible,
    NotYet,
    Obstacle,
    Probed,
    Unread,
    Visible,
    visibility,
)
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable
from dpunetop.kube.plan import ApplyStatus
from support.clock import EPOCH
from support.objects import config

CONFIG = parse_config(config())
NO_CHOICE = KubeconfigChoice(None, None)


def after(attempt: Attempt) -> Any:
    """The DpuClusterConfig with the conditions that the link writes about `attempt`."""
    view = LinkView(CONFIG, Owner(CONFIG.live, "0123"), NO_CHOICE, attempt, None, None, "dpunetop-tenantlink", EPOCH)
    (status,) = [step for step in plan_link(view).steps if isinstance(step, ApplyStatus)]
    conditions = [
        {"type": each.type, "status": each.status, "reason": each.reason, "message": each.message}
        for each in status.conditions
    ]
    return replace(CONFIG, live={**CONFIG.live, "status": {"conditions": conditions}})


LINKS: dict[str, tuple[Attempt, Obstacle | None]] = {
    "linked": (Linked("uid", None), None),
    "linked, and silent": (Linked("uid", "Timeout: no answer"), Obstacle.UNREACHABLE),
    "no answer": (TenantUnanswered("Timeout", "no answer"), Obstacle.UNREACHABLE),
    "the credential is refused": (TenantDenied("Unauthorized", "no"), Obstacle.UNAUTHORIZED),
    "another cluster": (WrongCluster("TenantSwapped", "another"), Obstacle.SWAPPED),
    "infra itself": (WrongCluster("TenantIsInfra", "infra"), Obstacle.SWAPPED),
    "a UID that is none": (WrongCluster("BadAnswer", "none"), Obstacle.NOT_ENGAGED),
    "now this one, now that one": (WrongCluster("IdentityInDoubt", "doubt"), Obstacle.NOT_ENGAGED),
    "no kubeconfig": (Unlinked(), Obstacle.NOT_ENGAGED),
}


def obstacle(found: object) -> Obstacle | None:
    return found.obstacle if isinstance(found, Invisible) else None


@pytest.mark.parametrize(("attempt", "expected"), LINKS.values(), ids=LINKS.keys())
def test_what_the_link_writes_is_what_all_others_read(attempt: Attempt, expected: Obstacle | None) -> None:
    found = visibility(after(attempt), Unread())
    assert obstacle(found) is expected
    assert isinstance(found, NotYet if expected is None else Invisible)


def test_the_table_of_links_names_every_kind_of_attempt() -> None:
    assert {type(attempt) for attempt, _ in LINKS.values()} == set(Attempt.__args__)


def test_a_refused_credential_is_told_with_the_secret_that_it_is_in() -> None:
    found = visibility(after(TenantDenied("Unauthorized", "no")), Unread())
    assert isinstance(found, Invisible)
    assert "Secret tenant-cluster-1-kubeconf" in found.words


ERRORS: dict[str, tuple[ApiError, Obstacle | None]] = {
    "forbidden": (Forbidden(403, "Forbidden", "no"), Obstacle.UNAUTHORIZED),
    "unauthorized": (Unauthorized(401, "Unauthorized", "no"), Obstacle.UNAUTHORIZED),
    "a server error": (ApiError(500, "InternalError", "no"), Obstacle.UNREADABLE),
    "an outage that the link has not met yet": (Unreachable(0, "Timeout", ""), None),
}


@pytest.mark.parametrize(("error", "expected"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_of_a_read_counts_beside_a_link_that_is_well(error: ApiError, expected: Obstacle | None) -> None:
    assert obstacle(visibility(after(Linked("uid", None)), Unread(error))) is expected


def test_a_link_that_is_down_says_more_than_the_error_of_a_read() -> None:
    found = visibility(after(TenantUnanswered("Timeout", "no answer")), Unread(ApiError(500, "InternalError", "")))
    assert obstacle(found) is Obstacle.UNREACHABLE


PROBES: dict[str, tuple[Probed | None, Obstacle | None]] = {
    "it answers": (Probed(Answer.GOOD), None),
    "it refuses": (Probed(Answer.REFUSED, "Unauthorized", "no"), Obstacle.UNAUTHORIZED),
    "it is silent": (Probed(Answer.NONE, "Timeout", "no"), Obstacle.UNREACHABLE),
    "it is let go": (None, Obstacle.NOT_ENGAGED),
}


@pytest.mark.parametrize(("probe", "expected"), PROBES.values(), ids=PROBES.keys())
def test_a_probe_of_the_connection_counts_more_than_what_the_link_says(
    probe: Probed | None, expected: Obstacle | None
) -> None:
    found = visibility(after(TenantUnanswered("Timeout", "no answer")), probe)
    assert obstacle(found) is expected
    assert isinstance(found, Visible if expected is None else Invisible)


def test_a_start_that_knows_nothing_waits() -> None:
    assert visibility(CONFIG, Unread()) == NotYet()
