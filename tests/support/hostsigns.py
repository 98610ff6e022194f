"""What a DPU's ovnkube writes onto the Node of its host, as hand-made hosts show it."""

from __future__ import annotations

from dpunetop.domain.names import CHASSIS_ANNOTATION, ENCAP_IPS_ANNOTATION, GATEWAY_ANNOTATION, ZONE_ANNOTATION


def dpu_shows(host: str) -> dict[str, str]:
    """All that any release writes."""
    return {
        ZONE_ANNOTATION: host,
        ENCAP_IPS_ANNOTATION: '["198.51.100.10"]',
        GATEWAY_ANNOTATION: f'{{"default":{{"mode":"shared","bridge-id":"br-ex","interface-id":"br-ex_{host}"}}}}',
        CHASSIS_ANNOTATION: "6c1bd1f4-5d0a-4c5e-9a57-3a2d8a4f3a10",
    }
