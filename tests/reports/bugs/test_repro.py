"""Standalone programs made from evidence: what they hold, and which failures they can show."""

from __future__ import annotations

import ast

import msgspec
import pytest

from matrix.cells import HubSource, RecipeSource
from matrix.results import Result, Status
from probes.checkpoints import recipes
from reports.bugs import repro
from reports.bugs.form import Form
from reports.bugs.forms import forms
from tests.reports.samples import result

COMMAND = ("python", "-P", "-m", "alpha.serve", "--model", "MODEL", "--served-model-name", "tiny", "--port", "PORT")
ERNIE = recipes.named("ernie-4.5-21b-a3b-pt").whole_config()
WRONG = {"prefill_rms": 0.5, "prefill_noise_rms": 5e-6}
REVISION = "0123456789abcdef0123456789abcdef01234567"
FORM = forms()["vllm"]


def failing(
    probe: str = "correctness",
    status: Status = Status.FAIL,
    *,
    reason: str = "off",
    dtype: str = "float32",
    hub: bool = False,
) -> Result:
    one = result(probe, status, reason=reason)
    source = HubSource(repo="someone/alpha", revision=REVISION) if hub else RecipeSource(recipe="ernie-4.5-21b-a3b-pt")
    model = msgspec.structs.replace(one.cell.model, source=source, dtype=dtype, context_length=1024)
    verdict = msgspec.structs.replace(one.verdict, numbers=WRONG)
    return msgspec.structs.replace(one, cell=msgspec.structs.replace(one.cell, model=model), verdict=verdict)


def made(one: Result, form: Form | None = FORM, command: tuple[str, ...] = COMMAND) -> str | None:
    config = ERNIE if isinstance(one.cell.model.source, RecipeSource) else None
    return repro.program(one, form, config, "/health", command=command)


@pytest.mark.parametrize(
    ("one", "holds"),
    [
        (failing(), ["ernie4_5_moe", "LIMIT = 0.0016  # nats (RMS)"]),
        (failing(dtype="bfloat16", hub=True), [f'"someone/alpha", revision="{REVISION}")', "model.bfloat16()"]),
        (
            failing("loading", Status.CRASH, reason='exited with code 1 while serving: assert self.score == "softmax"'),
            [r'if "assert self.score == \"softmax\"" in line', "the server ends by this"],
        ),
    ],
    ids=["tiny", "published", "crash"],
)  # fmt: skip
def test_a_program_is_one_short_file_that_python_can_read(one: Result, holds: list[str]) -> None:
    """Under 60 lines, with the engine's own command less what is ours, and three exit statuses in its first words."""
    program = made(one)
    assert program is not None
    ast.parse(program)
    assert len(program.splitlines()) < repro.LINES
    for piece in (
        *holds,
        'COMMAND = [sys.executable, "-m", "alpha.serve", "--model", FOLDER, "--port", URL[-5:]]',
        "Exits 1 while the fault is there, 0 once it is gone, 2 where it could not be tried.",
        "or: pip install vllm==1.0 && python repro.py",
        '/repro" --entrypoint python3 vllm/vllm-openai:v1.0 /repro/repro.py',
    ):
        assert piece in program


@pytest.mark.parametrize("name", sorted(recipes.recipes()))
def test_the_config_of_every_tiny_checkpoint_fits(name: str) -> None:
    """In one line where it has to."""
    program = repro.program(failing(), FORM, recipes.named(name).whole_config(), "/health", command=COMMAND)
    assert program is not None
    ast.parse(program)
    assert len(program.splitlines()) < repro.LINES


@pytest.mark.parametrize(
    ("one", "form", "command"),
    [
        (failing("protocol"), FORM, COMMAND),
        (failing("loading"), FORM, COMMAND),
        (failing(), None, COMMAND),
        (failing(), forms()["transformers"], COMMAND),
        (failing(), FORM, ("python", "SHIMS/alpha/serve.py", "--port", "PORT")),
        (result("correctness", Status.FAIL), FORM, COMMAND),
        (failing("loading", Status.CRASH, reason="ended by SIGKILL while loading"), FORM, COMMAND),
        (failing("loading", Status.CRASH, reason="exited with code 1 while loading: 0x7f12 /a/b"), FORM, COMMAND),
    ],
    ids=[
        "a probe of many requests",
        "no crash",
        "no form",
        "no dialect",
        "a shim",
        "a folder",
        "no words",
        "few words",
    ],
)
def test_what_one_request_cannot_show_has_no_program(one: Result, form: Form | None, command: tuple[str, ...]) -> None:
    """Then a person has to write it: nothing is guessed."""
    given = ERNIE if isinstance(one.cell.model.source, RecipeSource) else None
    assert repro.program(one, form, given, "/health", command=command) is None


def test_a_crash_is_known_by_the_longest_piece_of_its_words_that_does_not_vary() -> None:
    """Addresses, paths and sizes are another's on another machine."""
    said = "exited with code 1 while loading: RuntimeError: shape mismatch at 0x7ffe12: got 4096 for /tmp/x/model.bin"
    assert repro.last_words(said) == "RuntimeError: shape mismatch at"
