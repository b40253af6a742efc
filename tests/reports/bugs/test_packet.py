"""What a packet holds, when it is held back, and the engine's own form filled in from it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from matrix.bisection import Bisection, Outcome, Trial
from matrix.reproduction import Reproduction
from matrix.results import Result, Status
from reports.bugs import packet
from reports.bugs.forms import forms
from reports.bugs.packet import Fault, Packet
from reports.bugs.tracking import Report
from tests.reports.samples import result
from tests.reports.test_failures import failures

DAY = dt.date(2026, 1, 1)
SHOWN = Reproduction(
    name="alpha-x", release_id="alpha-1.0", build="third-party", build_note="Somebody's.", outcome="shown", exit_code=1,
    output="expected 1\nseen 2\n```\n@nobody", program_sha256="00", launcher="venv", requirements_sha256="ab" * 32,
    image_digest=None, machine="2 cores", environment_report="alpha 1.0 on Linux",
    ran_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
)  # fmt: skip
FAULT = Fault(
    name="alpha-x", title="alpha is wrong about @someone and #12", engine="vllm", version="1.0", build="third-party",
    build_note="Somebody's rebuild.", expected="Two.", seen="One.\n```\nand <!-- readiness -->", device="cpu",
    where=("alpha-1.0__small__cpu__default: FAIL on 2026-01-01",), around=("It passes on beta.",), command="serve x",
    model="small", log="last words",
)  # fmt: skip


def trial(version: str, outcome: Outcome, why: str = "seen | so") -> Trial:
    return Trial(version=version, released=DAY, outcome=outcome, why=why)


SEARCHED = Bisection(
    name="search", engine="vllm", cell_id="alpha-1.0__small__cpu__default", probe="correctness", distribution="alpha",
    build="official", build_note="", versions=("0.8", "0.9", "1.0"), finished=True, harness_version="0",
    trials=(trial("1.0", "bad"), trial("0.8", "good"), trial("0.9", "untestable")),
)  # fmt: skip
WHOLE = Packet(fault=FAULT, program="print(1)", reproduction=SHOWN, bisection=SEARCHED, form=forms()["vllm"])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"program": None}, "no standalone repro of it could be made"),
        ({"reproduction": None}, "its repro has not been executed yet"),
        (
            {"reproduction": msgspec.structs.replace(SHOWN, outcome="gone", exit_code=0)},
            "its repro does not show it",
        ),
        (
            {"reproduction": msgspec.structs.replace(SHOWN, outcome="untried", exit_code=2, output="a\nno disk\n")},
            "its repro could not be tried: no disk",
        ),
    ],
)
def test_only_what_its_own_program_has_shown_is_filed(changed: dict[str, object], why: str) -> None:
    """And it is said why the rest is not."""
    assert msgspec.structs.replace(WHOLE, **changed).held_back == why


def test_a_body_has_all_that_is_known_and_says_whose_build_it_was() -> None:
    """An engine's words stand in fences that they cannot end."""
    body = WHOLE.body
    for piece in (
        "**Seen on a third-party build, not on the engine's own.** Somebody's rebuild.",
        "````text\nOne.\n```\nand <!-- readiness -->\n````",
        "- `alpha-1.0__small__cpu__default: FAIL on 2026-01-01`",
        "- It passes on beta.",
        "1.0 (2026-01-01) is the first that shows it, 0.8 (2026-01-01) the last without; 0.9 between them could not",
        "| 0.9 | 2026-01-01 | untestable | `seen / so` |\n| 0.8 | 2026-01-01 | good |",
        "The failing probe of the cell `alpha-1.0__small__cpu__default` was run on each release",
        "```python\nprint(1)\n```",
        "Executed 2026-01-02 on alpha-1.0: it shows the fault (exit status 1).",
        "````text\nexpected 1\nseen 2\n```\n@nobody\n````",
        "```text\nalpha 1.0 on Linux\n```",
        "```sh\nserve x\n```",
        "Nothing is posted there by a program.",
    ):
        assert piece in body, piece


def test_a_draft_follows_the_projects_own_form_and_warns_of_a_build_that_is_not_its_own() -> None:
    """For a person to read, to try, and to submit in their own words."""
    draft = WHOLE.upstream
    assert draft is not None
    labels = [line.removeprefix("## ") for line in draft.splitlines() if line.startswith("## ")]
    assert labels == ["Your current environment", "🐛 Describe the bug"]
    assert "**Not to be submitted as it is: seen on a third-party build.** Somebody's rebuild." in draft
    assert "By release: 1.0 (2026-01-01) is the first that shows it" in draft
    assert "```text\nalpha 1.0 on Linux\n```" in draft


@pytest.mark.parametrize("engine", sorted(forms()))
def test_a_link_opens_the_projects_form_with_what_fits(engine: str) -> None:
    """No longer than a browser takes; a title cannot mention anybody."""
    long = msgspec.structs.replace(WHOLE, form=forms()[engine], program="x = 1\n" * 3000)
    link = long.link
    assert link is not None and len(link) < packet.LINK + 200
    parts = urlsplit(link)
    assert (parts.netloc, parts.path) == ("github.com", f"/{forms()[engine].project}/issues/new")
    given = parse_qs(parts.query)
    assert given["title"][0].startswith(forms()[engine].prefix)
    assert "@someone" not in given["title"][0] and "#12" not in given["title"][0]
    assert given.get("template") == ([forms()[engine].template] if forms()[engine].template else None)


def test_short_fields_that_a_form_can_take_are_filled_in() -> None:
    """By the ids that the form gives them."""
    link = msgspec.structs.replace(WHOLE, form=forms()["llama-server"]).link
    assert link is not None
    given = parse_qs(urlsplit(link).query)
    assert given["hardware"] == ["2 cores"] and given["model"] == ["small"]
    assert given["version"] == ["vllm 1.0. Somebody's rebuild."]
    assert given["first_bad_commit"][0].startswith("By release: 1.0 (2026-01-01) is the first")


def test_an_engine_without_a_form_gets_no_draft() -> None:
    """What its maintainers ask for is not known."""
    alone = msgspec.structs.replace(WHOLE, form=None)
    assert (alone.upstream, alone.link) == (None, None)
    assert "## For" not in alone.body


def test_a_failure_of_the_grid_is_told_by_its_newest_result(tmp_path: Path) -> None:
    """Versions, command, expected and seen, log tail; and whose build it was."""
    one = result("correctness", Status.FAIL, reason="prefill: 3 x\n```\n# not a heading")
    provenance = msgspec.structs.replace(
        one.provenance, build="third-party", build_note="Somebody's rebuild.", profile="quick", launcher="venv",
        command=("serve", "a b"), harness_version="0.1.0+" + "ab" * 20,
    )  # fmt: skip
    one = msgspec.structs.replace(one, provenance=provenance)
    again = msgspec.structs.replace(one, provenance=msgspec.structs.replace(provenance, started_at=later(one)))
    (failure,) = failures(tmp_path, one, again)
    fault = packet.of_failure(failure, "last words of the engine")
    text = Packet(fault=fault, program=None, reproduction=None, bisection=None, form=None).body
    assert "````text\nprefill: 3 x\n```\n# not a heading\n````" in text
    assert "**Seen on a third-party build, not on the engine's own.** Somebody's rebuild." in text
    assert f"git checkout {'ab' * 20}\nmake setup\n" in text
    assert "--profile quick --launcher venv --select alpha-1.0__small__cpu__default" in text
    assert "serve 'a b'" in text
    assert "as close to the float32 reference" in text
    assert "- model revision: `cdcd" in text
    assert "```text\nlast words of the engine\n```" in text


def test_the_list_of_failures_says_what_keeps_each_from_being_filed(tmp_path: Path) -> None:
    """What an engine has said cannot end its cell of the table."""
    one = result("correctness", Status.FAIL)
    again = msgspec.structs.replace(one, provenance=msgspec.structs.replace(one.provenance, started_at=later(one)))
    (failure,) = failures(tmp_path, one, again)
    told = Report(failure=failure, title="x", body="x", held_back="its repro could not be tried: a | b")
    assert packet.summary({failure.id: told}).splitlines()[2:] == [
        "| id | state | cells | first seen |",
        "| --- | --- | --- | --- |",
        f"| `{failure.id}` | its repro could not be tried: a \\| b | `{one.cell_id}` | 2026-01-02 |",
    ]
    assert packet.summary({}) == "## Failures\n\nNo engine fails unexpectedly.\n"


def later(one: Result) -> dt.datetime:
    return one.provenance.started_at.replace(minute=30)
