"""Counts of flagged tokens against the replicates'."""

from __future__ import annotations

import numpy as np
import pytest

from probes import noise_floor as nf


def test_four_flagged_tokens_are_the_least_proof() -> None:
    """Against five silent replicates p = (1/6)^m, when the tokens lie in different sequences."""
    valid = np.ones((32, 127), bool)
    silent = [np.zeros((32, 127), bool)] * 5
    for count in (1, 3, 4):
        flags = np.zeros((32, 127), bool)
        flags[np.arange(count), 5] = True
        assert nf.rate_excess(flags, silent, valid) == pytest.approx(6.0**-count)
    clustered = np.zeros((32, 127), bool)
    clustered[3, :40] = True
    assert nf.rate_excess(clustered, silent, valid) > 0.1  # one event in one sequence, left to the worst sequence


def test_rates_that_agree_are_no_excess() -> None:
    """The p-value of equal rates is roughly uniform: under 1% in at most 4% of 300 draws."""
    random = np.random.default_rng(0)
    valid = np.ones((32, 127), bool)
    draws = [
        nf.rate_excess(random.random((32, 127)) < 0.003, list(random.random((5, 32, 127)) < 0.003), valid)
        for _ in range(300)
    ]
    assert np.mean(np.array(draws) < 0.01) <= 0.04
