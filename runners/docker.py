"""The docker launcher: an engine in a container of its own that can reach nobody, watched while waited for, removed.

The container has no network but its own loopback (relay.py is the one way in), so there is no route to the internet,
to services of the host or to other cells, and no port that could be taken; nothing of this depends on firewall rules.
Its root file system is read-only, its capabilities are dropped, and it sees the model, the shims and a volume for
compiled kernels.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from docker.types import Mount
from requests.exceptions import RequestException

from matrix.cells import Cell
from matrix.errors import Infrastructure, NotSupported, ReadinessError
from runners import claims, containers, daemon, failure, http, models, owner, preflight, waiting
from runners.claims import Registry
from runners.containers import KERNELS, MODEL, PORT, SHIMS, read_only
from runners.engine import (
    BESIDE_DEADLINE_S,
    OFFLINE,
    Conversion,
    Engine,
    Launch,
    OutOfMemory,
    Server,
)
from runners.engine import SHIMS as STAND_INS
from runners.images import Ready
from runners.limits import Limits
from runners.logs import CappedLog
from runners.models import CONVERSION_DEADLINE_S, CONVERTING

REGISTRIES = Path("/opt/registries")
PROGRAM = Path("/opt/repro.py")
RELAY = Path("/relay")
WEIGHTS = Path("/weights")

RELAY_PROGRAM = Path(__file__).with_name("relay.py")
RELAY_MEMORY_BYTES = 256 * 2**20

STOP_S = 10
"""How long an engine has to stop by itself after SIGTERM."""

DAEMON_BACK_S = 30.0
"""How long a daemon that went away is waited for, so that what it still holds can be removed."""

SOCKET_PREFIX = "readiness-relay-"
"""Of the folders that hold a relay's socket: in the system's temporary folder, because such paths must be short."""


@contextmanager
def launch(engine: Engine, spec: Launch, log_path: Path, image: Ready, limits: Limits) -> Iterator[Server]:
    """Start an engine in a container, wait until it is ready, and remove it and its relay at the end.

    `spec` is as for the venv launcher; its paths give way to those inside. Raises EngineCrashed, EngineTimedOut,
    NeedsNetwork or Infrastructure as DESIGN's table of blame says; the log is attached as a note.
    """
    if spec.cell.model.trust_remote_code and spec.online:
        raise NotSupported("a model whose own code is run is never allowed online")
    inner = containers.launch_inside(spec, image)
    label = owner.label(spec.label)
    words = ("-P", *engine.command(inner))
    started = time.monotonic()
    with ExitStack() as stack:
        client = stack.enter_context(daemon.connected())
        preflight.containers(client, spec.cell, image)
        folder = stack.enter_context(_socket_folder(label))
        stack.callback(_remove_all, client, label)
        with daemon.blamed("the container cannot be created"):
            container = client.containers.create(**containers.settings(engine, spec, image, limits, label, words))
        watch = _Watch(container, limits, stack, log_path)
        socket = folder / "engine.sock"
        _start_relay(client, container, folder, image, label, watch)
        healthy_url = "http://engine" + engine.health_path
        waiting.wait_ready(lambda: http.answers(healthy_url, socket=socket), watch.death, log_path, spec.deadline_s)
        yield Server(
            engine=engine,
            base_url="http://engine",
            socket=socket,
            model=engine.served_name(inner),
            model_path=spec.model_path,
            engine_version=engine.version(lambda path: http.get_json("http://engine" + path, socket=socket)),
            startup_s=time.monotonic() - started,
            log_path=log_path,
            exit_code=watch.exit_code,
            out_of_memory=watch.out_of_memory,
            command=inner.published((image.python, *words)),
            image_digest=image.digest,
            requirements_sha256=image.requirements_sha256,
            needed_network=spec.online,
            beside=lambda program, words: _beside(container, image, program, words),
        )
        watch.stop()


def _beside(container: Container, image: Ready, program: Path, words: Sequence[str]) -> str:
    """Run a program's text with the Python of a running container, within its limits and on its devices."""
    command = [image.python, "-P", "-c", program.read_text(encoding="utf-8"), *words]
    with daemon.connected(BESIDE_DEADLINE_S) as client, daemon.blamed(f"{program.name} could not be run"):
        done = client.containers.get(container.id).exec_run(command, demux=True)
    output, errors = ((part or b"").decode(errors="replace") for part in done.output)
    return models.output_of(program, done.exit_code, output, errors)


# --- the relay --------------------------------------------------------------------------------------------


@contextmanager
def _socket_folder(label: str) -> Iterator[Path]:
    """A folder for a socket: whoever is in the container may write it, nobody else on the host may enter it."""
    outer = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX))
    try:
        (outer / "owner").write_text(label)
        folder = outer / "in"
        folder.mkdir()
        folder.chmod(0o777)
        yield folder
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def abandoned_socket_folders() -> list[Path]:
    """Socket folders whose run is gone."""
    found = []
    for folder in Path(tempfile.gettempdir()).glob(f"{SOCKET_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone meanwhile
            if not owner.is_held((folder / "owner").read_text()):
                found.append(folder)
    return found


def _start_relay(
    client: docker.DockerClient, container: Container, folder: Path, image: Ready, label: str, watch: _Watch
) -> None:
    words = ["-I", str(RELAY / "relay.py"), str(RELAY / "in" / "engine.sock"), str(PORT)]
    given = {
        **containers.hardened(image, label, "relay"),
        "entrypoint": [image.python],
        "command": words,
        "network_mode": f"container:{container.id}",
        "mem_limit": RELAY_MEMORY_BYTES,
        "pids_limit": 64,
        "mounts": [
            read_only(RELAY_PROGRAM, RELAY / "relay.py"),
            Mount(target=str(RELAY / "in"), source=str(folder), type="bind"),
        ],
    }
    del given["hostname"]  # it is the engine's
    try:
        relay = client.containers.create(**given)
        relay.start()
    except (DockerException, RequestException) as error:
        # An engine that has ended already has no network to join: its own end is the reason then.
        dead = watch.death(patience_s=2.0)
        raise dead or Infrastructure(f"the relay cannot be started: {daemon.reason(error)}") from error
    watch.relay = relay


# --- watching and removing --------------------------------------------------------------------------------


class _Watch:
    """Starts a container and knows how it ended; its log is in the cell's folder from the first line on."""

    def __init__(self, container: Container, limits: Limits, stack: ExitStack, log_path: Path) -> None:
        self._container = container
        self._limits = limits
        self._log_path = log_path
        self._ended = threading.Event()
        self._code: int | None = None
        self._lost: str | None = None
        self._stopping = False
        self.relay: Container | None = None
        self._log = stack.enter_context(CappedLog(log_path))
        with daemon.blamed("the container cannot be started"):
            stream = container.attach(stdout=True, stderr=True, stream=True)
            # A client of its own that waits without end: should the daemon go away, this is where it shows.
            waiter = stack.enter_context(daemon.connected(timeout_s=10**6))
            container.start()
        self._copier = threading.Thread(target=self._copy, args=(stream,), daemon=True)
        self._copier.start()
        threading.Thread(target=self._wait, args=(waiter,), daemon=True).start()

    def _copy(self, stream: Iterator[bytes]) -> None:
        with suppress(OSError, ValueError, DockerException, RequestException):  # the log ends with its container
            for piece in stream:
                self._log.write(piece)

    def _wait(self, waiter: docker.DockerClient) -> None:
        try:
            self._code = int(waiter.api.wait(self._container.id)["StatusCode"])
            daemon.client().close()  # one that shuts down ends its containers, but takes no new callers by then
        except Exception as error:
            self._lost = daemon.reason(error)
        self._ended.set()

    def exit_code(self) -> int | None:
        """None while it runs; -N where signal N ended it: an init reports that as 128 + N."""
        if not self._ended.is_set():
            self._require_relay()
            return None
        if self._lost is not None:
            raise Infrastructure(f"the Docker daemon went away in mid-run: {self._lost}")
        self._copier.join(5.0)  # its last words are on their way
        code = self._code or 0
        return 128 - code if 128 < code <= 128 + signal.NSIG else code

    def _require_relay(self) -> None:
        if self.relay is None:
            return
        with daemon.blamed("the Docker daemon went away in mid-run"):
            self.relay.reload()
        if self.relay.status != "running" and not self._ended.wait(1.0):
            raise Infrastructure("the relay to the engine's container has ended, and the engine has not")

    def out_of_memory(self) -> OutOfMemory | None:
        """What the daemon says of the end."""
        with daemon.blamed("the Docker daemon went away in mid-run"):
            self._container.reload()
        if not self._container.attrs["State"]["OOMKilled"]:
            return None
        return OutOfMemory(limit_bytes=self._limits.memory_bytes, needed_bytes=self._limits.needed_bytes)

    def death(self, patience_s: float = 0.0) -> ReadinessError | None:
        """The error for a container that ended while it was loading."""
        if patience_s:
            self._ended.wait(patience_s)
        code = self.exit_code()
        if code is None:
            return None
        log = failure.read_log(self._log_path)
        return failure.explain_exit(code, log, while_doing="loading", out_of_memory=self.out_of_memory())

    def stop(self) -> None:
        """Give the engine its time to end by itself."""
        with suppress(DockerException, RequestException):  # removed in any case, a moment later
            self._container.stop(timeout=STOP_S)


def _remove_all(client: docker.DockerClient, label: str) -> None:
    """Remove the containers of a launch; where the daemon is away, once it is back (else `readiness reap` does)."""
    end = time.monotonic() + DAEMON_BACK_S
    while True:
        try:
            for container in daemon.containers(client, label):
                daemon.remove(container)
            return
        except NotFound:
            continue
        except (DockerException, RequestException):
            if time.monotonic() > end:
                return
            time.sleep(0.5)


# --- what ends by itself ----------------------------------------------------------------------------------


def convert(engine: Engine, image: Ready, checkpoint: Path, target: Path, cell: Cell) -> None:
    """Make an engine's own weights with the converter in its image; raises Infrastructure with its last words."""
    assert engine.convert is not None
    asked = Conversion(
        environment=containers.inside(image), checkpoint=MODEL, target=WEIGHTS / target.name, dtype=cell.dtype,
        quantization=engine.makes(cell.config), shims=SHIMS,
    )  # fmt: skip
    mounts = [
        read_only(checkpoint, MODEL),
        read_only(STAND_INS, SHIMS),
        Mount(target=str(WEIGHTS), source=str(target.parent), type="bind"),
    ]
    target.parent.chmod(0o777)  # the image's user is another than ours
    try:
        code, log = _run(image, "conversion", engine.convert(asked), mounts)
    finally:
        target.parent.chmod(0o755)
    if code != 0:
        raise failure.explain_exit(code, log, while_doing=CONVERTING)


def registry(engine: Engine, image: Ready) -> Registry | None:
    """What the release in an image claims to run; None where its engine's file does not say how that is read."""
    if engine.registry is None:
        return None
    arguments = ("-P", str(REGISTRIES), *engine.registry(containers.inside(image)))

    def read() -> str:
        code, log = _run(image, "registry", arguments, [read_only(claims.PROGRAM, REGISTRIES)])
        return models.output_of(claims.PROGRAM, code, log, log)

    return claims.kept(image.id, read)


def run_program(
    engine: Engine, image: Ready, cell: Cell, program: Path, accelerators: tuple[str, ...]
) -> tuple[int, str]:
    """Run a standalone program in an engine's image to its end, on the cell's device; exit code and log."""
    inner = Launch(
        cell=cell, environment=containers.inside(image), model_path=MODEL, port=PORT, shims=SHIMS,
        compile_cache=KERNELS, accelerators=accelerators,
    )  # fmt: skip
    mounts = [read_only(program, PROGRAM), read_only(STAND_INS, SHIMS), containers.kernels(image)]
    more = {
        **containers.devices(cell.device, accelerators),
        "environment": containers.environment(engine, inner),
        "working_dir": "/tmp",
        "cap_add": list(cell.release.cap_add),
    }
    return _run(image, "repro", (str(PROGRAM),), mounts, more)


def _run(
    image: Ready, name: str, arguments: Sequence[str], mounts: list[Mount], more: Mapping[str, Any] | None = None
) -> tuple[int, str]:
    """Run the image's Python to its end, as isolated as an engine and without any network; exit code and log."""
    label = owner.label(name)
    given = {
        **containers.hardened(image, label, name),
        "entrypoint": [image.python],
        "command": list(arguments),
        "environment": {"HOME": "/tmp", **OFFLINE},
        "network_mode": "none",
        "mounts": mounts,
        **(more or {}),
    }
    del given["log_config"]
    with daemon.connected(CONVERSION_DEADLINE_S) as client, daemon.blamed(f"the {name} failed"):
        try:
            container = client.containers.run(**given)
            return container.wait()["StatusCode"], container.logs().decode(errors="replace")
        finally:
            _remove_all(client, label)
