"""The probes this project has: every module of `probes/` that has a `PROBE`."""

from __future__ import annotations

from probes import correctness, loading, throughput
from probes.probe import Probe


def probes() -> dict[str, Probe]:
    """All probes by name, in the order in which they are asked."""
    found = [module.PROBE for module in (loading, correctness, throughput)]
    return {probe.name: probe for probe in sorted(found, key=lambda probe: probe.order)}
