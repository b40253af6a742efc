"""The venv launcher: an engine as a process group of its own, watched while waited for, always taken down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from matrix.errors import Infrastructure, ReadinessError
from runners import failure, http, models, owner, waiting
from runners.engine import BESIDE_DEADLINE_S, OFFLINE, QUIET, Engine, Launch, Server

LABEL = "READINESS_LABEL"
"""Environment variable that every process we start carries, so that strays can be found by it: RUN/HOLDER/UNIQUE."""

TERMINATE_S = 20.0
"""How long an engine has to stop by itself after SIGTERM."""

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""What an engine sees of the caller's environment: no token, no PYTHONPATH, no proxy."""


HIGHEST_PORT = 55_535
"""Engines derive ports from theirs, the farthest that is known 10,000 higher."""
PORT_TRIES = 50
"""The usual range ends at 60,999, so one try in five is too high; on a host with other ranges all may be."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now: not above HIGHEST_PORT, where the host has such."""
    port = 0
    for _ in range(PORT_TRIES):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port <= HIGHEST_PORT:
            break
    return port


@contextmanager
def launch(engine: Engine, spec: Launch, log_path: Path) -> Iterator[Server]:
    """Start an engine, wait until it is ready, and take it and its children down at the end.

    Raises EngineCrashed, EngineTimedOut, NeedsNetwork or Infrastructure as DESIGN's table of blame says; the log is
    attached as a note.
    """
    label = owner.label(spec.label)
    environment = variables(engine, spec, label)
    command = (str(spec.environment.python), "-P", *engine.command(spec))
    started = time.monotonic()
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:  # a fresh log: an older one must not explain this death
        process = start(command, environment, log_path.parent, log.fileno())
    try:
        base_url = f"http://127.0.0.1:{spec.port}"
        waiting.wait_ready(
            lambda: http.answers(base_url + engine.health_path),
            lambda: _death(process, log_path),
            log_path,
            spec.deadline_s,
        )
        yield Server(
            engine=engine,
            base_url=base_url,
            model=engine.served_name(spec),
            model_path=spec.model_path,
            engine_version=engine.version(lambda path: http.get_json(base_url + path)),
            startup_s=time.monotonic() - started,
            log_path=log_path,
            exit_code=process.poll,
            command=spec.published(command),
            requirements_sha256=spec.environment.requirements_sha256,
            needed_network=spec.online,
            beside=lambda program, words: models.run_program(
                spec.environment.python, "-P", str(program), *words, deadline_s=BESIDE_DEADLINE_S, variables=environment
            ),
        )
    finally:
        take_down(process, label)


def start(command: tuple[str, ...], env: dict[str, str], folder: Path, log: int) -> subprocess.Popen[bytes]:
    """Start a process as the head of a group of its own, its words going to a file; end it by `take_down`."""
    try:
        return subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise Infrastructure(f"the engine could not be started: {error}") from error


def variables(engine: Engine, spec: Launch, label: str) -> dict[str, str]:
    """The environment of an engine's process, and of a program that runs in its stead."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    kept["PATH"] = f"{spec.environment.python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    hub = {} if spec.online else OFFLINE
    if spec.accelerators:
        names = {"cuda": "CUDA_VISIBLE_DEVICES", "rocm": "ROCR_VISIBLE_DEVICES"}
        kept[names[spec.cell.device.kind]] = ",".join(spec.accelerators)
    return {**kept, **QUIET, **hub, **engine.environment(spec), LABEL: label}


def _death(process: subprocess.Popen[bytes], log_path: Path) -> ReadinessError | None:
    code = process.poll()
    return None if code is None else failure.explain_exit(code, failure.read_log(log_path), while_doing="loading")


def take_down(process: subprocess.Popen[bytes], label: str) -> None:
    """End a process group and everything else that carries its label; returns when none is left."""
    members = labelled(label)
    _signal_group(process.pid, signal.SIGTERM)
    try:
        with suppress(subprocess.TimeoutExpired):  # the kill below is for exactly this
            process.wait(TERMINATE_S)
    finally:  # a second Ctrl-C ends the patience, not the killing
        _signal_group(process.pid, signal.SIGKILL)
        strays = {*members, *labelled(label)}
        for stray in strays:
            with suppress(psutil.NoSuchProcess):
                stray.kill()
        process.wait()
        psutil.wait_procs(strays, timeout=5)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def labelled(prefix: str = "") -> dict[psutil.Process, str]:
    """Processes that carry our label, begun as given, with their labels; all of ours by default."""
    found = {}
    for process in psutil.process_iter():
        try:
            value = process.environ().get(LABEL)
        except (psutil.Error, OSError):
            continue  # another user's, or gone meanwhile
        if value is not None and value.startswith(prefix):
            found[process] = value
    return found
