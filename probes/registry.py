"""The probes this project has: every module of `probes/` that has a `PROBE`."""

from __future__ import annotations

from matrix.cells import TIERS, Tier
from probes import batch, context, correctness, loading, protocol, quantized, state, throughput
from probes.probe import Probe


def probes(tier: Tier = TIERS[-1]) -> dict[str, Probe]:
    """The probes up to a tier by name, in the order in which they are asked."""
    found = [module.PROBE for module in (loading, correctness, quantized, state, batch, context, protocol, throughput)]
    asked = [probe for probe in found if TIERS.index(probe.tier) <= TIERS.index(tier)]
    return {probe.name: probe for probe in sorted(asked, key=lambda probe: probe.order)}
