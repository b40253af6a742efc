"""When two failures are the same, which are confirmed, and what a draft says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from matrix.results import Result, Status, write_result
from reports import store
from reports.bugs import draft, signature
from tests.reports.samples import cell, result

CRASH = "exited with code 1 while loading: RuntimeError: CUDA error at {path}:{line}: shape [{shape}] at 0x{address:x}"


def crash(**words: object) -> Result:
    return result("loading", Status.CRASH, reason=CRASH.format(**words))


@given(
    path=some.from_regex(r"(/[a-z0-9._-]{1,8}){1,4}", fullmatch=True),
    line=some.integers(0, 10**6),
    shape=some.lists(some.integers(1, 10**5), min_size=1, max_size=4).map(lambda sizes: ", ".join(map(str, sizes))),
    address=some.integers(0x1000, 2**48),
)
def test_a_crash_is_the_same_wherever_and_whenever_it_happens(path: str, line: int, shape: str, address: int) -> None:
    """Paths, numbers, shapes and addresses do not count."""
    same = crash(path="/opt/engine/x.py", line=7, shape="1, 2", address=0x7F00)
    assert signature.failure_id(crash(path=path, line=line, shape=shape, address=address)) == signature.failure_id(same)


@given(some.text(max_size=200))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    """What stands for something volatile is not volatile itself."""
    once = signature.normalised(text)
    assert signature.normalised(once) == once


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("KeyError: 'model.layers.12.mlp'", "KeyError: 'model.layers.N.mlp'"),
        ("2026-11-24 03:04:05,123 boom", "TIME boom"),
        ("see https://host:80/a?b=1 now", "see URL now"),
        ("blob 3fa9c1b2d4e5 is bad", "blob HEX is bad"),
        ("expected [4, 128, 64]", "expected [N]"),
        ("\x1b[31mERROR\x1b[0m  x", "ERROR x"),
        ("fp8 and int4 on sm90 with Qwen3", "fp8 and int4 on sm90 with Qwen3"),
    ],
)
def test_only_what_changes_from_run_to_run_is_taken_out(text: str, normal: str) -> None:
    """Names that hold digits stay."""
    assert signature.normalised(text) == normal


def test_a_wrong_answer_is_the_same_at_any_degree_and_release_and_another_on_another_architecture() -> None:
    """The ratio moves from night to night, and DEGRADED becomes FAIL; the fault is one."""
    known = result("correctness", Status.FAIL, reason="prefill: 3 x the noise")
    weaker = result("correctness", Status.DEGRADED, reason="decode: 1.4 x the noise; worst sequence")
    assert signature.failure_id(known) == signature.failure_id(weaker)
    other = cell()
    other = msgspec.structs.replace(other, model=msgspec.structs.replace(other.model, architecture="Other"))
    assert signature.failure_id(result("correctness", Status.FAIL, of=other)) != signature.failure_id(known)
    newer = cell()
    newer = msgspec.structs.replace(newer, release=msgspec.structs.replace(newer.release, version="1.1"))
    assert signature.failure_id(result("correctness", Status.FAIL, of=newer)) == signature.failure_id(known)


def failures(tmp_path: Path, *results: Result) -> list[draft.Failure]:
    for number, one in enumerate(results):
        provenance = msgspec.structs.replace(one.provenance, run_id=f"run-{number}")
        write_result(tmp_path / f"run-{number}", msgspec.structs.replace(one, provenance=provenance))
    with store.opened(tmp_path) as found:
        return draft.failures(found)


BAD, GOOD = Status.FAIL, Status.PASS


@pytest.mark.parametrize(
    ("history", "states"),
    [
        ([BAD], [False]),
        ([BAD, BAD], [True]),
        ([BAD, Status.ERROR, BAD], [True]),
        ([BAD, Status.UNDECIDED, BAD], [True]),
        ([BAD, BAD, Status.REF_SUSPECT], []),
        ([BAD, Status.REF_SUSPECT, BAD], [False]),
        ([BAD, GOOD, BAD], [False]),
        ([BAD, BAD, GOOD], []),
        ([BAD, BAD, Status.ERROR], [True]),
    ],
    ids=lambda value: "-".join(s.value for s in value) if value and isinstance(value[0], Status) else "",
)
def test_a_failure_is_confirmed_by_the_two_newest_decided_runs(
    tmp_path: Path, history: list[Status], states: list[bool]
) -> None:
    """One bad night is not enough, our own errors in between do not count, and what is mended is gone."""
    found = failures(tmp_path, *(result("correctness", one, minute=i) for i, one in enumerate(history)))
    assert [failure.confirmed for failure in found] == states


def test_a_failure_that_a_rule_expects_is_no_news(tmp_path: Path) -> None:
    """Known and explained: nothing to draft."""
    known = [result("correctness", BAD, expected=BAD, minute=minute) for minute in (0, 1)]
    assert failures(tmp_path, *known) == []


def test_a_draft_has_what_a_maintainer_needs_and_an_engines_words_cannot_break_out(tmp_path: Path) -> None:
    """Versions, command, expected and seen, log tail; and whose build it was."""
    one = result("correctness", BAD, reason="prefill: 3 x\n```\n# not a heading")
    provenance = msgspec.structs.replace(
        one.provenance, build="third-party", build_note="Somebody's rebuild.", profile="quick", launcher="venv",
        command=("serve", "a b"), harness_version="0.1.0+" + "ab" * 20,
    )  # fmt: skip
    one = msgspec.structs.replace(one, provenance=provenance)
    again = msgspec.structs.replace(one, provenance=msgspec.structs.replace(provenance, started_at=later(one)))
    (failure,) = failures(tmp_path, one, again)
    text = draft.draft(failure, "last words of the engine")
    assert "````text\nprefill: 3 x\n```\n# not a heading\n````" in text
    assert "**Seen on a third-party build, not on the engine's own.** Somebody's rebuild." in text
    assert f"git checkout {'ab' * 20}\nmake setup\n" in text
    assert "--profile quick --launcher venv --select alpha-1.0__small__cpu__default" in text
    assert "serve 'a b'" in text
    assert "as close to the float32 reference" in text
    assert "- model revision: cdcd" in text
    assert "```text\nlast words of the engine\n```" in text


def later(one: Result) -> dt.datetime:
    return one.provenance.started_at.replace(minute=30)
