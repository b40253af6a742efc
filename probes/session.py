"""One run of the matrix inside pytest: the tables, the plan, the run's folder, and how a cell's server comes up."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Self

import msgspec

from matrix import load
from matrix.cells import TIERS, Cell, Model, RecipeSource, Record, ScriptSource, Tier
from matrix.errors import EngineCrashed, Infrastructure, NeedsNetwork, NotSupported, WrongInput
from matrix.load import did_you_mean
from matrix.plan import Planned, plan
from matrix.results import (
    LOG_TAIL,
    SCHEMA_VERSION,
    Provenance,
    Result,
    Status,
    Timings,
    Verdict,
    read_json,
    write_bytes,
    write_json,
)
from matrix.untrusted import TEXT, safe
from probes import registry as probe_registry
from probes import tables, weights
from probes.chat import scripted
from probes.checkpoints import recipes, tiny
from probes.probe import Bench, Probe
from probes.provenance import harness_version, machine, verdict_without_places, without_places
from probes.reference.stage import Reference
from probes.stopwatch import ENVIRONMENT, HARNESS, REFERENCE, STARTUP, Stopwatch
from runners import attach, claims, daemon, docker, failure, leases, preflight, prepare, venv
from runners import registry as engine_registry
from runners.engine import SHIMS as SHIMS
from runners.engine import Environment, Launch, Server, ready_deadline_s
from runners.environments import Say
from runners.host import Host, side_by_side
from runners.limits import Limits, limits
from runners.models import Checkpoint
from runners.prepare import Prepared

JUDGED = frozenset({Status.PASS, Status.DEGRADED, Status.FAIL, Status.UNDECIDED})
"""What comparing with the reference can give."""
LAUNCHERS = ("docker", "venv", "attach")


class Options(Record, frozen=True, kw_only=True):
    """What a run is asked to do; the same words on every front door."""

    matrix: str = str(load.PACKAGED)
    profile: str = "quick"
    select: tuple[str, ...] = ()
    launcher: str | None = None
    """None: the profile's own."""
    run: str = ""
    """The run's folder."""
    attached: str | None = None
    """File of an `Attached`, for `readiness verify`."""
    night: str | None = None
    """The nightly run that this run is a part of."""
    tier: str | None = None
    """None: the profile's own; of a server that somebody else started, the least."""


class Attached(Record, frozen=True, kw_only=True):
    """A server that somebody else started, and the cell that stands for it."""

    cell: Cell
    base_url: str
    model: str
    """The name that the server knows the model by."""


class Built(Record, frozen=True, kw_only=True):
    """How the building of one release's environment went, kept for the rest of the run."""

    seconds: float
    error: str | None = None
    log: str = ""


class Launcher(Record, frozen=True, kw_only=True):
    """One of LAUNCHERS, and why it was chosen."""

    name: str
    why: str


def new_run_id() -> str:
    """A name that sorts by time and is unique: UTC to the second and six random hexadecimal digits."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class Up:
    """A cell's engine that is up, with what its probes need; down at the end of the `with` block."""

    def __init__(self, start: Callable[[], AbstractContextManager[Server]], bench: Bench) -> None:
        self.bench = bench
        self._start = start
        self._stack = ExitStack()
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The engine that is up now."""
        assert self._server is not None
        return self._server

    def __enter__(self) -> Self:
        self._server = self._stack.enter_context(self._start())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def again(self) -> None:
        """Take the engine down and start it anew; one that somebody else started goes on as it is."""
        self._stack.close()
        self._server = self._stack.enter_context(self._start())


class Session:
    """Everything that the cells of one run share; made once per process."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.run = Path(options.run)
        self.engines = engine_registry.engines()
        self.matrix = tables.matrix(Path(options.matrix))
        self._hosts: dict[Path, Host] = {}
        self._lock = threading.Lock()
        self.attached = read_json(Path(options.attached), Attached) if options.attached else None

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """What is asked of every cell, in order."""
        asked = ("*",) if self.attached is not None else self.matrix.profiles[self.options.profile].probes
        found = probe_registry.probes(self.tier)
        chosen = {name: probe for name, probe in found.items() if any(fnmatchcase(name, pattern) for pattern in asked)}
        cells = [planned.cell for planned in self.plan]
        return {
            name: probe
            for name, probe in chosen.items()
            if not probe.of_some_configs or any(probe.not_asked(cell) is None for cell in cells)
        }

    @cached_property
    def tier(self) -> Tier:
        """How much this run asks."""
        if self.options.tier is not None:
            if self.options.tier not in TIERS:
                raise WrongInput(f"unknown tier {self.options.tier!r}{did_you_mean(self.options.tier, TIERS)}")
            return self.options.tier
        return TIERS[0] if self.attached is not None else self.matrix.profiles[self.options.profile].tier

    @cached_property
    def plan(self) -> list[Planned]:
        """The cells of this run."""
        if self.attached is not None:
            return [Planned(cell=self.attached.cell)]
        return plan(self.matrix, self.options.profile, self.options.select)

    def check(self) -> None:
        """Raise WrongInput for a choice of cells or a launcher that cannot be, before anything is started."""
        _ = self.plan, self.tier
        if self.launcher.name == "attach" and self.attached is None:
            raise WrongInput("--launcher attach needs a server to attach to: use `readiness verify URL --model …`")
        if self.launcher.name not in LAUNCHERS:
            hint = did_you_mean(self.launcher.name, LAUNCHERS)
            raise WrongInput(f"unknown launcher {self.launcher.name!r}{hint}")

    @cached_property
    def launcher(self) -> Launcher:
        """How this run's engines are started, and why so."""
        if self.attached is not None:
            return Launcher(name="attach", why="a server that is already up")
        profile = self.matrix.profiles[self.options.profile]
        if self.options.launcher not in (None, "auto"):
            return Launcher(name=str(self.options.launcher), why="as asked for")
        if profile.launcher != "auto":
            return Launcher(name=profile.launcher, why=f"as profile {profile.id} says")
        version = daemon.version()
        if version is None:
            return Launcher(name="venv", why="no Docker daemon answers")
        return Launcher(name="docker", why=f"Docker Engine {version} answers")

    def host(self, environment: Environment) -> Host:
        """The interpreters of an environment of the reference, for what is small."""
        with self._lock:
            return self._hosts.setdefault(environment.folder, Host(environment.python, size=side_by_side()))

    def close(self) -> None:
        """End what stays up between calls; another call starts it anew."""
        for host in self._hosts.values():
            host.close()

    def checkpoint(self, model: Model, say: Say = lambda line: None) -> Checkpoint:
        """The model's Hugging Face folder."""
        if isinstance(model.source, RecipeSource):
            environment = prepare.reference_environment(self.matrix, model, say)
            recipe = recipes.named(model.source.recipe)
            return tiny.checkpoint(model.id, recipe, environment, self.host(environment), say)
        if isinstance(model.source, ScriptSource):
            environment = prepare.reference_environment(self.matrix, model, say)
            return scripted.checkpoint(model.id, model.source.format, environment, self.host(environment), say)
        return prepare.checkpoint(self.matrix, model, say)

    def bench(self, cell: Cell, source: Checkpoint, watch: Stopwatch, say: Say = lambda line: None) -> Bench:
        """What a cell's probes need besides the server."""
        engine, reference = self.engines[cell.release.engine], self.reference(cell, source, watch, say)
        given = self.served(cell, source)
        return weights.bench(engine, cell, reference, given, lambda: self.prepare(cell, given).model_path)

    def served(self, cell: Cell, source: Checkpoint) -> Checkpoint:
        """What a cell's engine is given of a checkpoint."""
        environment = prepare.reference_environment(self.matrix, cell.model)
        return weights.served(self.engines[cell.release.engine], cell, source, environment)

    def reference(self, cell: Cell, source: Checkpoint, watch: Stopwatch, say: Say = lambda line: None) -> Reference:
        """The reference forward pass of a cell's model, as it was released, dense where that is in a format."""
        environment = prepare.reference_environment(self.matrix, cell.model, say)
        return Reference(
            checkpoint=weights.dense(source, cell, environment, say),
            environment=environment,
            workload=cell.device.workload,
            watch=watch,
            say=say,
            host=self.host(environment),
            dtype="float32" if cell.dtype == "float32" else "bfloat16",
        )

    @contextmanager
    def serve(self, planned: Planned, watch: Stopwatch) -> Iterator[Up]:
        """A cell's engine, up and ready, with the bench its probes need; takes it down at the end."""
        cell = planned.cell
        if planned.excluded is not None:
            raise NotSupported(planned.excluded)
        with watch.on(REFERENCE):
            source = self.checkpoint(cell.model)
            served = self.served(cell, source)
            bench = self.bench(cell, source, watch)
        with Up(lambda: self._server(cell, served, bench.released or bench.reference, watch), bench) as up:
            yield up

    def _server(
        self, cell: Cell, served: Checkpoint, reference: Reference, watch: Stopwatch
    ) -> AbstractContextManager[Server]:
        if self.attached is not None:
            engine = self.engines[cell.release.engine]
            return attach.attach(engine, self.attached.base_url, self.attached.model, served.folder)
        return self._launched(cell, served, reference, watch)

    @contextmanager
    def _launched(self, cell: Cell, served: Checkpoint, reference: Reference, watch: Stopwatch) -> Iterator[Server]:
        engine = self.engines[cell.release.engine]
        unsupported = engine.supports(cell)
        if unsupported is not None:
            raise NotSupported(unsupported)
        if cell.model.trust_remote_code and self.launcher.name != "docker":
            raise NotSupported("the model brings code of its own, which runs only in a container (--launcher docker)")
        with watch.on(ENVIRONMENT):
            self._raise_known_failure(cell)
            prepared = self.prepare(cell, served)
        stack = ExitStack()
        try:
            with watch.on(STARTUP), claims.told(prepared.claim):
                server = self._up(stack, cell, prepared, served.size, reference)
            yield msgspec.structs.replace(server, claim=prepared.claim)
        finally:
            with watch.on(STARTUP):
                stack.close()

    def prepare(self, cell: Cell, source: Checkpoint, say: Say = lambda line: None) -> Prepared:
        """Environment or image of a cell's engine, and its weights."""
        how = prepare.in_docker if self.launcher.name == "docker" else prepare.in_venv
        return how(self.matrix, cell, self.engines[cell.release.engine], source, say)

    def _up(self, stack: ExitStack, cell: Cell, prepared: Prepared, size: int, reference: Reference) -> Server:
        allowed = limits(cell, size)
        ids = stack.enter_context(leases.lease(cell, allowed))
        preflight.accelerators(cell, ids)
        spec = Launch(
            cell=cell,
            environment=prepared.environment,
            model_path=prepared.model_path,
            port=venv.free_port(),
            shims=SHIMS,
            label=self.run.name,
            accelerators=ids,
            deadline_s=ready_deadline_s(size),
        )
        try:
            return self._offline_or_online(stack, spec, prepared, allowed)
        except EngineCrashed as error:
            if (excuse := reference.coverage().excuse(error)) is not None:
                raise excuse from error
            raise

    def _offline_or_online(self, stack: ExitStack, spec: Launch, prepared: Prepared, allowed: Limits) -> Server:
        log = self._fresh_log(spec.cell)
        try:
            return stack.enter_context(self._launch(spec, prepared, log, allowed))
        except NeedsNetwork:
            # Once more online: whether only the network was missing is worth knowing.
            spec = msgspec.structs.replace(spec, online=True, port=venv.free_port())
            return stack.enter_context(self._launch(spec, prepared, log.with_name("server.online.log"), allowed))

    def _fresh_log(self, cell: Cell) -> Path:
        """Where the engine writes; what an earlier start of it in this cell has written is kept beside."""
        log = self.run / cell.id / "server.log"
        if log.exists():
            log.rename(log.with_name(f"server.{len(list(log.parent.glob('server.[0-9]*.log'))) + 1}.log"))
        return log

    def _launch(self, spec: Launch, prepared: Prepared, log: Path, allowed: Limits) -> AbstractContextManager[Server]:
        engine = self.engines[spec.cell.release.engine]
        if prepared.image is None:
            preflight.machine(spec.cell, allowed)
            return venv.launch(engine, spec, log)
        return docker.launch(engine, spec, log, prepared.image, allowed)

    def _raise_known_failure(self, cell: Cell) -> None:
        """An environment that this run has failed to build is not tried again for each cell."""
        built = self.failed_to_build(cell.release.id)
        if built is not None:
            error = Infrastructure(f"its {self.housing} could not be built: {built.error}")
            error.add_note(built.log)
            raise error

    @property
    def housing(self) -> str:
        """What an engine lives in."""
        return "image" if self.launcher.name == "docker" else "environment"

    def failed_to_build(self, release_id: str) -> Built | None:
        """How building a release's environment failed in this run, if it did."""
        path = self.built_path(release_id)
        built = read_json(path, Built) if path.is_file() else None
        return built if built is not None and built.error is not None else None

    def built_path(self, release_id: str) -> Path:
        """Where the prepare stage leaves how a release's environment was built."""
        return self.run / "environments" / f"{release_id}.json"

    def result(
        self, cell: Cell, probe: Probe, verdict: Verdict, *, started_at: dt.datetime, seconds: float,
        server: Server | None, source: Checkpoint | None, measurement: str | None,
    ) -> Result:  # fmt: skip
        """A verdict with its provenance and with what the rules expect of it."""
        verdict = verdict_without_places(verdict)
        doubt = self.matrix.doubt(cell.id)
        if doubt is not None and probe.by_reference and measurement is not None and verdict.status in JUDGED:
            reason = f"{doubt.reason} ({doubt.link}); {verdict.status.value}, {verdict.reason}"
            verdict = msgspec.structs.replace(verdict, status=Status.REF_SUSPECT, reason=reason)
        foreseen = self.matrix.expectation(cell.id, probe.name)
        if foreseen is not None:
            verdict = msgspec.structs.replace(
                verdict, expected=Status(foreseen.status), expected_reason=f"{foreseen.reason} ({foreseen.link})"
            )
        provenance = Provenance(
            run_id=self.run.name,
            started_at=started_at,
            seconds=seconds,
            harness_version=harness_version(),
            release_id=cell.release.id,
            build=cell.build,
            build_note=cell.build_note,
            engine_version=server.engine_version if server else None,
            requirements_sha256=server.requirements_sha256 if server else None,
            image_digest=server.image_digest if server else None,
            model_digest=source.digest if source else None,
            machine=machine(),
            driver=preflight.driver(cell.device),
            command=server.command if server else (),
            startup_s=server.startup_s if server else None,
            night=self.options.night,
            profile=self.options.profile,
            launcher=self.launcher.name,
        )
        return Result(
            schema_version=SCHEMA_VERSION, cell=cell, cell_id=cell.id, probe=probe.name, probe_version=probe.version,
            tier=probe.tier, verdict=verdict, provenance=provenance, measurement=measurement,
        )  # fmt: skip

    def keep_log_tail(self, cell: Cell) -> None:
        """Store the last lines of a cell's log, for readers of the results; the whole log stays where the run is.

        Its engine has ended: what looks like a secret is taken out of the whole logs too.
        """
        folder = self.run / cell.id
        for log in folder.glob("server*.log"):
            failure.redact_log(log)
        log = folder / "server.log"
        if log.is_file():
            lines = safe(without_places(failure.read_log(log, failure.LOG_TAIL_LINES)), TEXT)
            write_bytes(folder / LOG_TAIL, f"{lines}\n".encode())

    def write_timings(self, cell: Cell, watch: Stopwatch, total_s: float) -> None:
        """Store where a cell's time went; what no part accounts for is ours."""
        spent = dict(watch.spent)
        spent[HARNESS] = max(total_s - sum(spent.values()), 0.0)
        write_json(self.run / cell.id / "timings.json", Timings(cell_id=cell.id, seconds=spent))
