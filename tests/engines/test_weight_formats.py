"""Formats of quantized releases: packed and unpacked in the reference's environment, beside transformers' own code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from matrix.errors import NotSupported
from matrix.load import PACKAGED
from probes.session import Options, Session
from runners import models, prepare
from runners.models import WEIGHT_FORMATS

pytestmark = pytest.mark.engine

CHECKS = Path(__file__).with_name("weight_formats_checks.py")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(Options(matrix=str(PACKAGED), profile="formats", run=str(tmp_path_factory.mktemp("formats"))))


@pytest.fixture(scope="module")
def answer(session: Session, reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folders = [
        str(session.checkpoint(session.matrix.models[name]).folder)
        for name in ("tiny-llama-3.2-1b-instruct", "tiny-gpt-oss-20b")
    ]
    session.close()
    words = (str(reference_python), "-P", str(CHECKS), str(WEIGHT_FORMATS), *folders)
    work = tmp_path_factory.mktemp("packed")
    done = subprocess.run((*words, str(work)), capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_packing_rounds_to_the_nearest_number_of_the_format(answer: dict[str, Any]) -> None:
    """No number moves by more than half a step, and one that is cut to the largest by no more than a step."""
    assert all(0.49 < answer["worst"][method] <= 0.5 for method in ("awq", "fp8"))
    assert 0.5 < answer["worst"]["mxfp4"] <= 1
    assert answer["repeated"] is True


@pytest.mark.parametrize("method", ["awq", "fp8", "mxfp4"])
def test_a_checkpoint_comes_back_whole(answer: dict[str, object], method: str) -> None:
    """Every tensor by its name, dense in float32, and to the bit where the format packs nothing."""
    assert answer[f"{method} kept"] == [True, True, True]


@pytest.mark.parametrize("method", ["fp8", "mxfp4"])
def test_what_comes_back_is_what_transformers_reads(answer: dict[str, object], method: str) -> None:
    """To the bit; AWQ, which transformers alone does not read, is held against vLLM."""
    assert answer[f"{method} apart"] == 0.0


def test_widened_weights_are_the_same_numbers(answer: dict[str, object]) -> None:
    """For an engine that computes in the dtype of its weights: every tensor, in float32, and a config that says so."""
    assert answer["widened"] == [True, True, True, True]


def test_weights_that_a_format_is_not_for_are_refused(session: Session) -> None:
    """With the program's own words."""
    model = session.matrix.models["tiny-llama-3.2-1b-instruct"]
    source, environment = session.checkpoint(model), prepare.reference_environment(session.matrix, model)
    with pytest.raises(NotSupported, match=r"in mxfp4: .* has no weights that mxfp4 is for"):
        models.packed(source, "mxfp4", model.id, environment)
    with pytest.raises(NotSupported, match="weights in no format are not known here, only in awq, fp8, mxfp4"):
        models.unpacked(source, model.id, environment)
    session.close()
