"""The pytest face: one item a cell and probe, engines started once a cell, one hook that writes every result."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matrix.cells import Cell
from matrix.errors import WrongInput
from matrix.plan import Planned
from matrix.results import RESULT_ENDING, Measurement, Result, Status, Verdict, write_measurement, write_result
from probes import arbitrate, comparison, workers
from probes.probe import Probe
from probes.session import Options, Session, Up, new_run_id
from probes.stopwatch import Stopwatch
from reports import junit, runs
from runners import cache, failure, reap, signals

SESSION = pytest.StashKey[Session]()
RECORD = pytest.StashKey["Record"]()


class Record:
    """What an item leaves for the hook that writes its result."""

    def __init__(self) -> None:
        self.started_at = dt.datetime.now(dt.UTC)
        self.started = time.monotonic()
        self.served: Up | None = None
        self.measurement: Path | None = None
        self.verdict: Verdict | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("readiness", "the readiness matrix")
    group.addoption("--cells", action="append", default=[], metavar="GLOB", help="run only cells whose id matches")
    group.addoption("--profile", default="quick", help="profile of the matrix (default: quick)")
    group.addoption("--matrix", default=None, metavar="DIR", help="folder with your own tables")
    group.addoption("--launcher", default=None, help="docker or venv (default: docker where a daemon answers)")
    group.addoption("--results", default="results", metavar="DIR", help="where the run's folder is made")
    group.addoption("--run-folder", default=None, metavar="DIR", help="the run's folder itself")
    group.addoption("--junit", default="junit.xml", metavar="FILE", help="JUnit XML of the run")
    group.addoption("--night", default=None, metavar="NAME", help="the nightly run that this is a part of")
    group.addoption("--tier", default=None, help="smoke, standard or deep (default: the profile's)")
    group.addoption(
        "--attached", default=None, metavar="FILE", help="a running server, as `readiness verify` writes it"
    )


def pytest_configure(config: pytest.Config) -> None:
    signals.terminate_like_interrupt()
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker:
        workers.take_cores(int(worker["workerid"].removeprefix("gw")), worker["workercount"])
    folder = worker["readiness_run"] if worker else config.getoption("--run-folder")
    folder = folder or str(Path(config.getoption("--results")).resolve() / new_run_id())
    given: dict[str, Any] = {"matrix": config.getoption("--matrix")} if config.getoption("--matrix") else {}
    options = Options(
        **given,
        profile=config.getoption("--profile"),
        select=tuple(config.getoption("--cells")),
        launcher=config.getoption("--launcher"),
        run=folder,
        attached=config.getoption("--attached"),
        night=config.getoption("--night"),
        tier=config.getoption("--tier"),
    )
    try:
        session = Session(options)
        session.check()
    except WrongInput as error:
        raise pytest.UsageError(str(error)) from None
    cache.register_run(session.run.name)
    config.stash[SESSION] = session


def pytest_unconfigure(config: pytest.Config) -> None:
    if SESSION in config.stash:
        config.stash[SESSION].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Every pytest-xdist worker writes into the same run."""
    node.workerinput["readiness_run"] = str(node.config.stash[SESSION].run)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> workers.CellScheduling:
    """Whatever --dist says, the probes of a cell share a worker, and so an engine."""
    return workers.CellScheduling(config, log)


def pytest_report_header(config: pytest.Config) -> str:
    session = config.stash[SESSION]
    return f"readiness: {len(session.plan)} cells x {len(session.probes)} probes, results in {session.run}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    session = metafunc.config.stash[SESSION]
    if "planned" in metafunc.fixturenames:
        cells = [pytest.param(planned, id=planned.cell.id) for planned in session.plan]
        metafunc.parametrize("planned", cells, scope="session")
    if "probe" in metafunc.fixturenames:
        metafunc.parametrize("probe", [pytest.param(probe, id=name) for name, probe in session.probes.items()])


@pytest.fixture(scope="session")
def session(pytestconfig: pytest.Config) -> Session:
    """The run that this process takes part in."""
    return pytestconfig.stash[SESSION]


@pytest.fixture(scope="session")
def served(planned: Planned, session: Session) -> Iterator[Up]:
    """The cell's engine, started once for all its probes, and anew where one asks for it."""
    watch = Stopwatch()
    started = time.monotonic()
    try:
        with session.serve(planned, watch) as up:
            yield up
    finally:
        session.keep_log_tail(planned.cell)
        session.write_timings(planned.cell, watch, time.monotonic() - started)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Where this item leaves its evidence; asked for before the engine, so that it exists if the engine fails."""
    return request.node.stash[RECORD]  # type: ignore[no-any-return]


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[RECORD] = Record()


def keep(record: Record, session: Session, planned: Planned, probe: Probe, measurement: Measurement) -> None:
    """The measurement is on disk before anybody judges it."""
    record.measurement = write_measurement(session.run, planned.cell.id, probe.name, measurement)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """The one place where results are written: after the call, or after a set-up that failed."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    callspec = getattr(item, "callspec", None)
    if RECORD not in item.stash or callspec is None or "probe" not in callspec.params:
        return
    if call.when == "call" or (call.when == "setup" and call.excinfo is not None):
        result = _result(item, call)
        write_result(item.config.stash[SESSION].run, result)
        _shape(report, result.verdict)


def _result(item: pytest.Item, call: pytest.CallInfo[Any]) -> Result:
    record, session = item.stash[RECORD], item.config.stash[SESSION]
    planned, probe = item.callspec.params["planned"], item.callspec.params["probe"]  # type: ignore[attr-defined]
    return session.result(
        planned.cell,
        probe,
        _verdict(record, call, probe, session, planned.cell),
        started_at=record.started_at,
        seconds=time.monotonic() - record.started,
        server=record.served.server if record.served else None,
        source=record.served.bench.reference.checkpoint if record.served else None,
        # What was measured before an exception does not explain the verdict that the exception led to.
        measurement=record.measurement.name if record.measurement and record.verdict else None,
    )


def _verdict(record: Record, call: pytest.CallInfo[Any], probe: Probe, session: Session, cell: Cell) -> Verdict:
    if record.verdict is not None:
        return record.verdict
    if call.excinfo is None:
        return Verdict(status=Status.ERROR, reason="the harness failed: the probe ended without a verdict")
    lacking = session.engines[cell.release.engine].lacking_on_cpu if cell.device.kind == "cpu" else None
    error = failure.excused(call.excinfo.value, lacking)
    reason, evidence = failure.describe(error)
    status = failure.status_of(error)
    first = next(iter(session.probes))
    if call.when == "setup" and status.blames_engine and probe.name != first:
        return Verdict(status=Status.NOTRUN, reason=f"the engine did not become ready ({status.value}: see {first})")
    return Verdict(status=status, reason=reason, evidence=evidence)


def _shape(report: pytest.TestReport, verdict: Verdict) -> None:
    """Say to pytest what a verdict means for the run, and to the reader what it is."""
    good = verdict.status in (Status.PASS, Status.SKIP, Status.NOTRUN, Status.UNDECIDED)
    fails = verdict.unexpected or verdict.status is Status.ERROR
    report.outcome = "failed" if fails else "passed" if verdict.status is Status.PASS else "skipped"
    report.longrepr = None if not fails and verdict.status is Status.PASS else verdict.reason
    if report.outcome == "skipped":
        report.longrepr = (str(report.fspath), 0, f"{verdict.status.value}: {verdict.reason}")
    report.user_properties.append(
        ("status", verdict.status.value if good or fails else f"known {verdict.status.value}")
    )


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    status = dict(report.user_properties).get("status") if hasattr(report, "user_properties") else None
    if status is None or (report.when != "call" and report.outcome == "passed"):
        return None
    return report.outcome, str(status)[0], str(status)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On the one process that sees all: results for what never ran, JUnit XML, and no engine left behind."""
    config = session.config
    if hasattr(config, "workerinput") or SESSION not in config.stash or config.option.collectonly:
        return
    run = config.stash[SESSION]
    if not run.run.exists():
        return
    _write_unrun(run)
    arbitrate.arbitrate([run.run], run.engines)
    comparison.compare([run.run])
    found = runs.read_run(run.run)
    Path(config.getoption("--junit")).write_text(junit.render(found.results))
    reap.reap_run(run.run.name)


def _write_unrun(session: Session) -> None:
    for planned in session.plan:
        for probe in session.probes.values():
            path = session.run / planned.cell.id / f"{probe.name}{RESULT_ENDING}"
            if not path.exists():
                verdict = Verdict(status=Status.NOTRUN, reason="the run ended before this probe")
                now = dt.datetime.now(dt.UTC)
                result = session.result(
                    planned.cell,
                    probe,
                    verdict,
                    started_at=now,
                    seconds=0.0,
                    server=None,
                    source=None,
                    measurement=None,
                )
                write_result(session.run, result)
