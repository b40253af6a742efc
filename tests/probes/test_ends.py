"""The ids at which a checkpoint's model ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes import ends
from probes.noise_floor import TokenLogprobs


@pytest.mark.parametrize(
    ("generation", "config", "found"),
    [
        ({"eos_token_id": [9, 2]}, {"eos_token_id": 3}, (2, 9)),
        ({"do_sample": True}, {"eos_token_id": 3}, (3,)),
        (None, {"text_config": {"eos_token_id": [3, 3]}}, (3,)),
        (None, {"eos_token_id": None}, ()),
        (None, None, ()),
    ],
)
def test_the_first_file_that_names_any_counts(
    generation: dict[str, Any] | None, config: dict[str, Any] | None, found: tuple[int, ...], tmp_path: Path
) -> None:
    """What generation goes by, then the config, or the part of it that is about text."""
    for name, values in zip(ends.CONFIGS, (generation, config), strict=True):
        if values is not None:
            (tmp_path / name).write_text(json.dumps(values))
    assert ends.of_checkpoint(tmp_path) == found


def test_an_id_that_could_not_be_chosen_is_not_listed() -> None:
    """In the sequence that it belongs to alone, at every position; padding masks nothing."""
    listed = np.array([[[4, 5]], [[4, 5]]])
    run = TokenLogprobs(target_logprobs=np.zeros((2, 1)), top_ids=listed, top_logprobs=np.array([[[-1.0, -2.0]]] * 2))
    left = ends.without(run, np.array([[5], [-1]]))
    assert left.top_ids.tolist() == [[[4, -1]], [[4, 5]]]
    assert np.isnan(left.top_logprobs).tolist() == [[[False, True]], [[False, False]]]
