"""The end of the certificate that a tenant's API server shows, and when a person is warned of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from dpunetop.kube.validity import Validity

_WARN_BEFORE = timedelta(days=7)
_SHARE_OF_LIFE = 10
"""What renews a certificate by itself does so before the last tenth of its life: the kubelet after 70 to 90 %, and
OpenShift after 80 % at the latest.

Source: jitteryDuration in k8s.io/client-go, util/certificate/certificate_manager.go, at v0.37.2; openshift/library-go,
pkg/operator/certrotation/target.go."""
_LOOK_AGAIN = timedelta(minutes=10)


def warning(serving: Validity | None, now: datetime) -> str:
    """The words of the warning; empty: no person has to act yet, or the certificate is not known."""
    if serving is None or now < _warn_from(serving):
        return ""
    end = serving.end.isoformat().replace("+00:00", "Z")
    return (
        f"the certificate of the tenant's API server ends at {end}, and nothing connects to it from then on; "
        "its administrator has to renew it before"
    )


def pause(serving: Validity | None, now: datetime) -> float | None:
    """Seconds until the warning may change; None: the certificate is not known."""
    if serving is None:
        return None
    return max(_warn_from(serving) - now, _LOOK_AGAIN).total_seconds()


def _warn_from(serving: Validity) -> datetime:
    """Seven days before the end, or a tenth of the certificate's life if that is shorter."""
    return serving.end - min(_WARN_BEFORE, (serving.end - serving.begin) / _SHARE_OF_LIFE)
