"""Engines of one's own, by READINESS_ENGINES."""

from __future__ import annotations

import pytest

from matrix.errors import WrongInput
from runners import registry


def test_a_module_of_ones_own_joins_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that its ENGINE says."""
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.adapter")
    assert {"fake", "vllm", "transformers"} <= registry.engines().keys()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("no.such_module", "READINESS_ENGINES: no.such_module: No module named 'no'"),
        ("tests.fake_engine.bench", "READINESS_ENGINES: tests.fake_engine.bench has no ENGINE"),
    ],
)
def test_a_module_that_is_no_engine_is_wrong_input(monkeypatch: pytest.MonkeyPatch, module: str, said: str) -> None:
    """Not a traceback."""
    monkeypatch.setenv("READINESS_ENGINES", module)
    with pytest.raises(WrongInput) as caught:
        registry.engines()
    assert str(caught.value) == said
