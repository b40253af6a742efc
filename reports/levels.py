"""The ladder: what a model, an engine and a device have earned together, and what stands before the next rung. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from matrix.cells import Record
from matrix.results import Result, Status

LEVELS = ("absent", "loads", "runs", "right", "robust", "ready")
ABSENT, LOADS, RUNS, RIGHT, ROBUST, READY = range(len(LEVELS))

MAKE_ROBUST = ("state", "batch", "context")
"""The probes that ask whether it stays right when chunked and cached, batched, and past every context breakpoint."""
MAKE_RIGHT = ("correctness", "quantized")
"""Which of them is asked is the config's matter; the other is skipped."""
MAKE_READY = ("protocol", "throughput")
"""The probes that ask whether it serves as clients expect, and is not slow."""

NONFINITE = "nonfinite"
"""The ending of numbers that count logprobs which are none."""
COMPARED = "_rho_"
"""In the names of a speed's numbers: it was held against a control, or against another engine."""


class Finding(Record, frozen=True, kw_only=True):
    """What one probe says of one cell, in as far as the level depends on it."""

    cell_id: str
    probe: str
    status: Status
    reason: str = ""
    answered: bool = False
    """The engine generated, and its logprobs, if it gives any, were finite."""
    compared: bool = False
    """A speed was held against something."""
    device: str = ""
    speed_counts: bool = True
    """In this config speed is asked for."""
    speed_judged: bool = True
    """On this device."""

    @property
    def sentence(self) -> str:
        """Probe, status and reason."""
        return f"{self.probe} {self.status.value}: {self.reason}"


def finding(result: Result) -> Finding:
    """What a result says."""
    cell, verdict = result.cell, result.verdict
    return Finding(
        cell_id=result.cell_id,
        probe=result.probe,
        status=verdict.status,
        reason=verdict.reason,
        answered=answered(verdict.numbers),
        compared=compared(verdict.numbers),
        device=cell.device.id,
        speed_counts=cell.config.speed_counts,
        speed_judged=cell.device.speed_judged,
    )


def answered(numbers: Mapping[str, float]) -> bool:
    """True where there are numbers and none of them counts logprobs that are none."""
    return bool(numbers) and not any(value for name, value in numbers.items() if name.endswith(NONFINITE))


def compared(numbers: Mapping[str, float]) -> bool:
    """True where a speed was held against something."""
    return any(COMPARED in name for name in numbers)


def level(findings: Sequence[Finding]) -> tuple[int | None, str]:
    """The highest level that every config earned in which loading was decided, and what blocks the next one.

    None where nothing was decided: then it is why. Findings are in the order of probes.
    """
    asked = [one for one in findings if one.probe == "loading"]
    loading = [one for one in asked if one.status.decided]
    if not loading:
        return None, telling(asked or findings)
    known = {one.cell_id for one in loading}
    of_known = [one for one in findings if one.cell_id in known]
    failing = [one for one in loading if one.status is not Status.PASS]
    if failing:
        return ABSENT, telling(failing)
    right = [one for one in of_known if one.probe in MAKE_RIGHT and one.status is not Status.SKIP]
    unanswered = [one for one in right if not one.answered]
    if unanswered or not right:
        return LOADS, telling(unanswered) if unanswered else "correctness was not asked"
    wrong = [one for one in right if one.status is not Status.PASS]
    if wrong:
        return RUNS, telling(wrong)
    return _above_right(of_known)


def _above_right(findings: Sequence[Finding]) -> tuple[int, str]:
    asked = {probe: [one for one in findings if one.probe == probe] for probe in MAKE_ROBUST}
    shaky = [one for found in asked.values() for one in found if one.status is not Status.PASS]
    blamed = [one for one in findings if one.status.blames_engine and not _merely_unready(one)]
    if shaky or blamed:
        return RIGHT, telling(blamed or shaky)
    unasked = [probe for probe, found in asked.items() if not found]
    if unasked:
        return RIGHT, f"{unasked[0]} was not asked"
    blocked_by = _before_ready(findings)
    return (ROBUST, blocked_by) if blocked_by else (READY, "")


def _merely_unready(one: Finding) -> bool:
    """True where it is slow or breaks the protocol; a crash is more than that."""
    return one.probe in MAKE_READY and one.status in (Status.FAIL, Status.DEGRADED)


def _before_ready(findings: Sequence[Finding]) -> str:
    """What stands between robust and ready; empty where nothing does."""
    last = [one for one in findings if one.probe in MAKE_READY and (one.probe != "throughput" or one.speed_counts)]
    unheld = [one for one in last if one.status is not Status.PASS]
    if unheld:
        return telling(unheld)
    unasked = set(MAKE_READY) - {one.probe for one in last}
    if unasked:
        return f"{min(unasked)} was not asked"
    timed = [one for one in last if one.probe == "throughput"]
    if not all(one.speed_judged for one in timed):
        return f"speeds are not judged on {timed[0].device}"
    if not any(one.compared for one in timed):
        return "its speed could be compared with nothing: no control of its size and no other engine in the run"
    return ""


def colour(statuses: Collection[Status], earned: int | None) -> str:
    """`right`; `wrong`: the engine is to blame; `partly`: DEGRADED, or to blame beside being right; `grey`."""
    blamed = {status for status in statuses if status.blames_engine}
    if blamed:
        return "partly" if blamed == {Status.DEGRADED} or (earned or ABSENT) >= RIGHT else "wrong"
    return "right" if earned is not None and earned >= RIGHT else "grey"


def words(level: int | None) -> str:
    """A level as a reader sees it: `3 right`; `grey` where none is known."""
    return "grey" if level is None else f"{level} {LEVELS[level]}"


def telling(findings: Sequence[Finding]) -> str:
    """The sentence that says most: of the first that blames the engine, else of the first."""
    return next((one for one in findings if one.status.blames_engine), findings[0]).sentence
