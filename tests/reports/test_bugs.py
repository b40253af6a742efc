"""What a draft says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from matrix.results import Result, Status
from reports.bugs import draft
from tests.reports.samples import result
from tests.reports.test_failures import failures

BAD = Status.FAIL


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
