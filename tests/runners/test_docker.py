"""The docker launcher with real containers: blame, isolation, limits, removal. See DESIGN's table of blame."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import docker as docker_sdk
import pytest
from msgspec.structs import replace

from matrix.errors import Infrastructure, NotSupported
from matrix.results import Status, Verdict
from probes import loading, throughput
from probes.probe import Probe
from probes.roofline import device
from runners import containers, daemon, docker, failure, limits, logs, reap
from runners.engine import Engine, Launch, Server
from runners.images import Ready
from runners.limits import GIB, Limits
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, READY_S, bench, heed_interrupts, spec
from tests.runners.test_blame import CRIED

pytestmark = pytest.mark.docker

SHORT_S = 3.0
MIB = 2**20
ENOUGH = limits.limits(CELL, 0)

KILLS = int(os.environ.get("READINESS_KILLS", "3"))
"""How often each kill test is repeated; `make bench-runners` repeats them 20 times."""


def in_container(folder: Path, mark: str, *, deadline_s: float = READY_S) -> Launch:
    (folder / "pocket").mkdir(exist_ok=True)
    return replace(spec(deadline_s=deadline_s), model_path=folder / "pocket", label=mark)


def launched(
    engine: Engine, folder: Path, image: Ready, mark: str, *, given: Limits = ENOUGH, deadline_s: float = READY_S
) -> AbstractContextManager[Server]:
    there = in_container(folder, mark, deadline_s=deadline_s)
    return docker.launch(engine, there, folder / "engine.log", image, given)


def verdict_of(
    engine: Engine,
    folder: Path,
    image: Ready,
    mark: str,
    *,
    probe: Probe = loading.PROBE,
    given: Limits = ENOUGH,
    deadline_s: float = READY_S,
) -> Verdict:
    """Launch, measure and judge as a run does; and nothing of it is left."""
    try:
        with launched(engine, folder, image, mark, given=given, deadline_s=deadline_s) as server:
            measurement = probe.measure(server, CELL, bench())
        return probe.judge(measurement, CELL)
    except Exception as error:
        reason, evidence = failure.describe(error)
        return Verdict(status=failure.status_of(error), reason=reason, evidence=evidence)
    finally:
        assert left(mark) == []


def left(mark: str) -> list[str]:
    """What the daemon still holds of a test."""
    with daemon.connected() as client:
        return [container.short_id for container in daemon.containers(client, f"{mark}/")]


def volumes() -> set[str]:
    with daemon.connected() as client:
        return {volume.name for volume in client.volumes.list()}


def only_container(mark: str) -> docker_sdk.models.containers.Container:
    """The engine's container of a launch (the relay's joins its network)."""
    with daemon.connected() as client:
        found = daemon.containers(client, f"{mark}/")
        (engine,) = [one for one in found if not one.attrs["HostConfig"]["NetworkMode"].startswith("container:")]
        return engine


# --- blame ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [loading.PROBE, throughput.PROBE], ids=lambda probe: probe.name)
def test_a_healthy_engine_passes(probe: Probe, tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """Through the relay, an engine in a container answers as one in a virtual environment does."""
    verdict = verdict_of(fake_engine(), tmp_path, fake_image, mark, probe=probe)
    assert verdict.status is Status.PASS, verdict.reason


def test_a_program_runs_beside_the_engine(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """With the image's own Python, which has torch where ours has none; one that fails is ours, with its last words."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such device')")
    with launched(fake_engine(), tmp_path, fake_image, mark) as server:
        assert device.measured(server, CELL).by == "torch"
        assert server.beside is not None
        with pytest.raises(Infrastructure, match="no such device"):
            server.beside(broken, ())


@pytest.mark.parametrize("code", [0, 1, 137])
def test_an_exit_while_loading_with_its_own_words_is_a_crash(
    code: int, tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """Whatever the exit code, a traceback in the container's log makes it the engine's crash, quoted."""
    verdict = verdict_of(fake_engine(f"exit-loading={code}"), tmp_path, fake_image, mark)
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"{_ends(code)} while loading: {CRIED}"
    assert CRIED in verdict.evidence["log tail"]


@pytest.mark.parametrize("code", [0, 1, 137])
def test_an_exit_while_loading_without_a_word_is_our_error(
    code: int, tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """Without the engine's own words nothing shows that it is to blame."""
    verdict = verdict_of(fake_engine(f"exit-silently={code}"), tmp_path, fake_image, mark)
    assert verdict.status is Status.ERROR
    assert verdict.reason.startswith(f"{_ends(code)} while loading without a word of its own")


@pytest.mark.parametrize("behaviour", ["exit-silently=139", "signal-loading=11"])
def test_a_segmentation_fault_while_loading_is_a_crash(
    behaviour: str, tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """139 is how an init reports SIGSEGV, which is the engine's own even without a word."""
    verdict = verdict_of(fake_engine(behaviour), tmp_path, fake_image, mark)
    assert verdict.status is Status.CRASH
    assert verdict.reason == "ended by SIGSEGV while loading"


@pytest.mark.parametrize("code", [0, 1, 137, 139])
def test_dying_of_the_first_request_is_a_crash(code: int, tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """Healthy, and gone with its own words at the first request: a crash, whatever the code."""
    verdict = verdict_of(fake_engine(f"die-on-request={code}"), tmp_path, fake_image, mark)
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"{_ends(code)} while serving: {CRIED}"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, Status.ERROR), (signal.SIGSEGV, Status.CRASH)])
def test_a_signal_while_serving_without_a_word(
    number: signal.Signals, status: Status, tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """A silent 137 after healthy proves nothing; a 139 is the engine's own fault."""
    verdict = verdict_of(fake_engine(f"signal-on-request={number.value}"), tmp_path, fake_image, mark)
    assert verdict.status is status
    assert verdict.reason.startswith(f"ended by {number.name} while serving")


def _ends(code: int) -> str:
    return f"ended by {signal.Signals(code - 128).name}" if code > 128 else f"exited with code {code}"


def test_never_healthy_is_a_timeout(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """A container that lives and is not healthy by the deadline has timed out."""
    verdict = verdict_of(fake_engine("never-healthy"), tmp_path, fake_image, mark, deadline_s=SHORT_S)
    assert verdict.status is Status.TIMEOUT
    assert verdict.reason == "not healthy after 3 s, though its process is alive"
    assert "fake engine" in verdict.evidence["log tail"]


@pytest.mark.parametrize("while_doing", ["loading", "serving"])
def test_out_of_memory_above_the_computed_need_is_a_crash(
    while_doing: str, tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """Ended by the kernel under a limit that should have sufficed: it needs more than computed."""
    roomy = replace(ENOUGH, memory_bytes=192 * MIB, needed_bytes=128 * MIB)
    verdict = verdict_of(fake_engine(f"eats-{while_doing}"), tmp_path, fake_image, mark, given=roomy)
    assert verdict.status is Status.CRASH
    assert verdict.reason == (
        f"ended by SIGKILL while {while_doing}: out of memory under a limit of 0.2 GiB: "
        "it needs more than the 0.1 GiB computed"
    )


@pytest.mark.parametrize("while_doing", ["loading", "serving"])
def test_out_of_memory_below_the_computed_need_is_our_error(
    while_doing: str, tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """Ended by the kernel under a limit that we had set too low: ours."""
    tight = replace(ENOUGH, memory_bytes=192 * MIB, needed_bytes=1 * GIB)
    verdict = verdict_of(fake_engine(f"eats-{while_doing}"), tmp_path, fake_image, mark, given=tight)
    assert verdict.status is Status.ERROR
    assert verdict.reason == (
        f"ended by SIGKILL while {while_doing}: out of memory under our limit of 0.2 GiB, "
        "below the 1.0 GiB that it needs"
    )


def test_a_missing_image_is_our_error(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """An image that is gone between preparing and launching."""
    gone = replace(fake_image, id="sha256:" + "0" * 64)
    verdict = verdict_of(fake_engine(), tmp_path, gone, mark)
    assert verdict.status is Status.ERROR
    assert verdict.reason.startswith("the container cannot be created: No such image")


def test_no_daemon_is_our_error(tmp_path: Path, fake_image: Ready, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is gone before the run, and the sentence says so."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with (
        pytest.raises(Exception, match="no Docker daemon answers") as raised,
        launched(fake_engine(), tmp_path, fake_image, mark),
    ):
        pass
    assert failure.status_of(raised.value) is Status.ERROR


def test_a_relay_that_ended_is_our_error(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """The way into the container is ours: when it breaks, the engine is not blamed."""
    with launched(fake_engine(), tmp_path, fake_image, mark) as up:
        with daemon.connected() as client:
            (relay,) = [one for one in daemon.containers(client, mark) if one.labels[daemon.CELL_LABEL] == "relay"]
            relay.kill()
        with pytest.raises(Infrastructure, match="the relay to the engine's container has ended") as raised:
            loading.measure(up, CELL, bench())
    assert failure.status_of(raised.value) is Status.ERROR
    assert left(mark) == []


def test_a_gigabyte_of_log_fills_neither_disk_nor_memory(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """The beginning and the end are kept, within the cap; the engine is not held up and passes."""
    verdict = verdict_of(fake_engine("shouts=1024"), tmp_path, fake_image, mark, deadline_s=180)
    assert verdict.status is Status.PASS, verdict.reason
    log = tmp_path / "engine.log"
    assert log.stat().st_size <= logs.MOST_BYTES + MIB
    assert "bytes of log left out here" in log.read_text()
    assert log.read_text().startswith("shout")
    assert "serves on port" in failure.read_log(log)


def test_a_port_taken_on_the_host_does_not_matter(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """The port that the engine serves on is its own network's: the host's is not asked for."""
    with socket.create_server(("127.0.0.1", containers.PORT)), launched(fake_engine(), tmp_path, fake_image, mark):
        pass


# --- isolation --------------------------------------------------------------------------------------------


@contextmanager
def host_service() -> Iterator[int]:
    """A service of the host on all its addresses."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("0.0.0.0", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def asks(mark: str, program: str) -> str:
    """What a Python program says that is run inside the engine's container, beside the engine."""
    done = only_container(mark).exec_run(["/opt/engine/bin/python", "-c", textwrap.dedent(program)])
    said: str = done.output.decode().strip()
    return said


CONNECTS = """
    import socket
    try:
        socket.create_connection(({host!r}, {port}), timeout=2)
        print("connected")
    except OSError as error:
        print(type(error).__name__, error)
"""

# A kernel without a route says the first; for an IPv6 address and no IPv6 in the container, the second.
NO_ROUTE = ("OSError [Errno 101] Network is unreachable", "OSError [Errno 99] Cannot assign requested address")


def test_the_engine_reaches_nobody(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """No route to the internet, to the host by any of its addresses, or to another cell; no name is resolved."""
    with (
        host_service() as port,
        launched(fake_engine(), tmp_path, fake_image, mark),
        launched(fake_engine(), tmp_path, fake_image, f"{mark}-other"),
    ):
        addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
        assert addresses
        for host in (*addresses, "172.17.0.1", "1.1.1.1"):
            assert asks(mark, CONNECTS.format(host=host, port=port)) in NO_ROUTE
        assert "ConnectionRefusedError" in asks(mark, CONNECTS.format(host="127.0.0.1", port=port))
        assert "gaierror" in asks(mark, CONNECTS.format(host="huggingface.co", port=443))
        assert asks(mark, "import os; print(os.listdir('/sys/class/net'))") == "['lo']"


def test_the_second_try_of_an_engine_that_wanted_the_network_has_it(
    tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """Online, the very same question reaches the host's service; so the test above can fail."""
    there = replace(in_container(tmp_path, mark), online=True)
    with host_service() as port, docker.launch(fake_engine(), there, tmp_path / "log", fake_image, ENOUGH) as server:
        assert server.needed_network
        (address, *_) = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
        assert asks(mark, CONNECTS.format(host=address, port=port)) == "connected"


def test_the_engine_sees_neither_secrets_nor_the_host(
    tmp_path: Path, fake_image: Ready, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Hub token, no Docker socket, none of the host's files; it is no root, has no capability and may gain none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTPS_PROXY", "READINESS_API_KEY"):
        monkeypatch.setenv(name, "ours")
    with launched(fake_engine(), tmp_path, fake_image, mark):
        assert asks(mark, "import os; print('ours' in os.environ.values(), os.environ['HF_HUB_OFFLINE'])") == "False 1"
        assert asks(mark, "import os; print(os.path.exists('/var/run/docker.sock'))") == "False"
        assert asks(mark, f"import os; print(os.path.exists({str(Path.home() / '.cache')!r}))") == "False"
        assert asks(mark, "import os; print(os.getuid() != 0)") == "True"
        status = asks(mark, "print(open('/proc/1/status').read())")
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("place", ["/model", "/opt/shims", "/opt/engine", "/etc"])
def test_the_engine_cannot_write(place: str, tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """Model, shims and its own code are read-only to it; /tmp and /cache are not."""
    write = "open({path!r}, 'w').write('x'); print('written')"
    with launched(fake_engine(), tmp_path, fake_image, mark):
        assert "Read-only file system" in asks(mark, write.format(path=f"{place}/x"))
        for free in ("/tmp/x", "/cache/x"):
            assert asks(mark, write.format(path=free)) == "written"


def test_a_models_own_code_is_never_run_online(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """The second try of an engine that wanted the network has a route out, so it is refused."""
    risky = replace(CELL, model=replace(CELL.model, trust_remote_code=True))
    there = replace(in_container(tmp_path, mark), cell=risky, online=True)
    with pytest.raises(NotSupported), docker.launch(fake_engine(), there, tmp_path / "log", fake_image, ENOUGH):
        pass


# --- what the container is created with -------------------------------------------------------------------


def created(fake_image: Ready, tmp_path: Path, mark: str, kind: str, count: int, ids: tuple[str, ...]) -> dict:  # type: ignore[type-arg]
    """The daemon's own account of a container that was created and not started."""
    cell = replace(CELL, device=replace(CELL.device, kind=kind, accelerators=count))
    there = replace(in_container(tmp_path, mark), cell=cell, accelerators=ids)
    given = containers.settings(fake_engine(), there, fake_image, limits.limits(cell, 0), f"{mark}/x", ("-V",))
    with daemon.connected() as client:
        container = client.containers.create(**given)
        try:
            return dict(container.attrs)
        finally:
            daemon.remove(container)


def test_nvidia_accelerators_are_requested_by_id(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """A cell on two of four GPUs asks the daemon for exactly these two."""
    host = created(fake_image, tmp_path, mark, "cuda", 0, ("1", "3"))["HostConfig"]
    (request,) = host["DeviceRequests"]
    assert (request["Driver"], request["DeviceIDs"], request["Capabilities"]) == ("nvidia", ["1", "3"], [["gpu"]])
    assert request["Count"] == 0


def test_amd_accelerators_are_device_files_and_groups(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """ROCm wants /dev/kfd and /dev/dri, two groups, and a variable that names the visible ones."""
    made = created(fake_image, tmp_path, mark, "rocm", 0, ("0", "1"))
    host = made["HostConfig"]
    assert [device["PathOnHost"] for device in host["Devices"]] == ["/dev/kfd", "/dev/dri"]
    assert host["GroupAdd"] == ["video", "render"]
    assert "ROCR_VISIBLE_DEVICES=0,1" in made["Config"]["Env"]


def test_limits_reach_the_container(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """Memory without swap, shared memory, processes, init, and no log that the daemon would keep."""
    host = created(fake_image, tmp_path, mark, "cpu", 0, ())["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == ENOUGH.memory_bytes == 10 * GIB
    assert (host["ShmSize"], host["PidsLimit"]) == (1 * GIB, 2048)
    assert host["Init"] is True
    assert host["LogConfig"]["Type"] == "none"
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True


# --- removal ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_after_an_exception(
    kind: type[BaseException], tmp_path: Path, fake_image: Ready, mark: str
) -> None:
    """An exception inside the block, Ctrl-C included, passes through and leaves no container."""
    with pytest.raises(kind), launched(fake_engine(), tmp_path, fake_image, mark):  # noqa: PT012 - the body raises
        assert len(left(mark)) == 2
        raise kind
    assert left(mark) == []


def test_an_engine_that_ignores_sigterm_is_killed(
    tmp_path: Path, fake_image: Ready, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not stop in time is killed."""
    monkeypatch.setattr(docker, "STOP_S", 1)
    with launched(fake_engine("stubborn"), tmp_path, fake_image, mark):
        pass
    assert left(mark) == []


HOLDER = """
    import signal, sys, time
    from pathlib import Path
    import msgspec
    from runners.images import Ready
    from tests.fake_engine.adapter import fake_engine
    from tests.runners.test_docker import launched

    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    folder, mark, image = sys.argv[1:]
    with launched(fake_engine(), Path(folder), msgspec.json.decode(image, type=Ready), mark):
        print("up", flush=True)
        time.sleep(60)
"""


@contextmanager
def holder(folder: Path, mark: str, image: Ready) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a launch, and is ended with the block."""
    import msgspec

    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder), mark, msgspec.json.encode(image).decode()],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert len(left(mark)) == 2
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_signal(number: signal.Signals, tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """SIGTERM and Ctrl-C to the process that holds a launch: no container, volume or socket folder is left."""
    before = volumes(), set(docker.abandoned_socket_folders())
    for _ in range(KILLS):
        with holder(tmp_path, mark, fake_image) as process:
            process.send_signal(number)
            process.wait(30)
        assert left(mark) == []
        assert (volumes(), set(docker.abandoned_socket_folders())) == before


def test_only_orphans_are_reaped(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """After kill -9, `reap` leaves nothing of the dead run and touches neither a live one's nor a stranger's."""
    with (
        launched(fake_engine(), tmp_path, fake_image, f"{mark}-alive"),
        daemon.connected() as client,
        stranger(client, fake_image, mark) as other,
    ):
        before = volumes()
        for _ in range(KILLS):
            with holder(tmp_path, f"{mark}-dead", fake_image) as process:
                process.kill()
                process.wait()
                assert len(left(f"{mark}-dead")) == 2
                assert docker.abandoned_socket_folders()
                removed = reap.reap_orphans()
            assert sum(line.startswith("container") for line in removed) >= 2
            assert left(f"{mark}-dead") == []
            assert docker.abandoned_socket_folders() == []
            assert len(left(f"{mark}-alive")) == 2
            other.reload()
            assert other.status == "running"
            assert volumes() == before


@contextmanager
def stranger(
    client: docker_sdk.DockerClient, image: Ready, mark: str
) -> Iterator[docker_sdk.models.containers.Container]:
    """A container that is not ours."""
    made = client.containers.run(
        image.id, ["-c", "import time; time.sleep(120)"], entrypoint=[image.python], detach=True, init=True
    )
    try:
        yield made
    finally:
        made.remove(force=True, v=True)
