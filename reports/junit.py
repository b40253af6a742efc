"""JUnit XML of a run: a suite per cell, a case per probe, versions and digests as properties, evidence as output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from junit_xml import TestCase, TestSuite, to_xml_report_string

from matrix.results import Result, Status

FROM_A_SERVER = ("engine_version", "requirements_sha256", "image_digest", "model_digest", "driver")
"""Of a provenance: what is not known where no engine was up."""


def render(results: Sequence[Result], *, pretty: bool = True) -> str:
    """The report as text; `pretty` is for whoever opens it, and takes as long as the rest."""
    ordered = sorted(results, key=lambda result: (result.cell_id, result.provenance.started_at))
    suites = [_suite(cell_id, tuple(group)) for cell_id, group in groupby(ordered, key=lambda r: r.cell_id)]
    return str(to_xml_report_string(suites, prettyprint=pretty))


def _suite(cell_id: str, results: tuple[Result, ...]) -> TestSuite:
    provenance = results[0].provenance
    versions = {
        "release": provenance.release_id,
        "build": provenance.build,
        **{name: _first(results, name) for name in FROM_A_SERVER},
        "harness_version": provenance.harness_version,
        "run_id": provenance.run_id,
        "machine": provenance.machine,
    }
    properties = {name: value for name, value in versions.items() if value}
    return TestSuite(
        cell_id,
        [_case(result) for result in results],
        properties=properties,
        timestamp=provenance.started_at.isoformat(),
    )


def _first(results: Sequence[Result], name: str) -> str | None:
    return next((value for result in results if (value := getattr(result.provenance, name)) is not None), None)


def _case(result: Result) -> TestCase:
    verdict = result.verdict
    evidence = "\n\n".join(f"{name}:\n{text}" for name, text in verdict.evidence.items())
    numbers = "\n".join(f"{name} = {value:.6g}" for name, value in verdict.numbers.items())
    case = TestCase(
        result.probe,
        classname=result.cell_id,
        elapsed_sec=result.provenance.seconds,
        stdout="\n\n".join(text for text in (verdict.reason, numbers, evidence) if text),
        status=verdict.status.value,
    )
    sentence = f"{verdict.status.value}: {verdict.reason}"
    if verdict.status is Status.ERROR:
        case.add_error_info(sentence, error_type="ERROR")
    elif verdict.status in (Status.SKIP, Status.NOTRUN, Status.UNDECIDED, Status.REF_SUSPECT):
        case.add_skipped_info(sentence)
    elif verdict.unexpected:
        case.add_failure_info(sentence, failure_type=verdict.status.value)
    elif verdict.status is not Status.PASS:
        case.add_skipped_info(f"known {sentence}; {verdict.expected_reason}")
    return case
