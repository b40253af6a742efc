"""The `readiness` command and the pytest face, as whole processes, on the fake engine."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from matrix.results import read_json, write_json
from reports import cost
from reports.cost import Cost
from runners import daemon, http, images, venv
from tests.conftest import ROOT, absent
from tests.fake_engine import adapter, bench
from tests.fake_engine.adapter import BEHAVIOUR
from tests.fake_engine.whole_matrix import numpy_lock

DOCKERFILE = """
ARG BASE
FROM ${BASE}
COPY tools/uv tools/ca.crt /tools/
RUN /tools/uv venv /opt/engine
COPY locks/rest.txt /locks/
ENV SSL_CERT_FILE=/tools/ca.crt
RUN /tools/uv pip install --python /opt/engine/bin/python --require-hashes -r /locks/rest.txt
RUN mkdir --mode=1777 /cache
"""
EXPECT_FAIL = """
[[expect]]
cells = "fake-*"
probe = "correctness"
status = "FAIL"
reason = "logprobs are shifted"
link = "https://example.org/issue/1"
"""


def readiness(
    environment: dict[str, str], cwd: Path, *arguments: str | Path, behaviour: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "readiness", *map(str, arguments)]
    env = {**environment, BEHAVIOUR: behaviour}
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=180)


def statuses(results: Path) -> dict[str, str]:
    """Status by cell and probe of the newest run."""
    run = max(path for path in results.iterdir() if path.is_dir())
    found = {}
    for path in run.glob("*/*.result.json"):
        result = json.loads(path.read_text())
        found[f"{result['cell']['release']['version']} {result['probe']}"] = result["verdict"]["status"]
    return found


def test_a_healthy_run_decides_everything_writes_everything_and_exits_0(
    environment: dict[str, str], tables: Path, tmp_path: Path
) -> None:
    """Results, JUnit XML, site, the terminal grid and the split of the time, in one command."""
    done = readiness(environment, tmp_path, "run", "--matrix", tables)
    assert done.returncode == 0, done.stdout + done.stderr
    probes = ("loading", "correctness", "throughput")
    assert statuses(tmp_path / "results") == {f"{v} {p}": "PASS" for v in ("0.0.1", "0.0.2") for p in probes}
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [len(list(suite.iter("testcase"))) for suite in suites] == [3, 3]
    assert "<br>0.0.2" in (tmp_path / "site" / "index.html").read_text()
    assert len(list((tmp_path / "site" / "cells").glob("fake-0.0.*.html"))) == 2
    assert "x the model's own rounding noise (99% bounds" in done.stdout
    assert re.search(r"total \d+ s: environments \d+ s, .*waiting for engines \d+ s, harness \d+ s", done.stdout)


def test_a_wrong_engine_exits_1_and_an_expected_failure_exits_0(
    environment: dict[str, str], tables: Path, tmp_path: Path
) -> None:
    """News is news until a rule with a reason and a link foresees it."""
    select = ("run", "--matrix", tables, "--select", "fake-0.0.1*")
    assert readiness(environment, tmp_path, *select, behaviour="shifted").returncode == 1
    assert statuses(tmp_path / "results")["0.0.1 correctness"] == "FAIL"
    (tables / "rules.toml").write_text(EXPECT_FAIL)
    foreseen = readiness(environment, tmp_path, *select, behaviour="shifted")
    assert foreseen.returncode == 0
    assert "known FAIL" in foreseen.stdout
    assert readiness(environment, tmp_path, *select).returncode == 1  # the foreseen failure is gone


def test_where_the_reference_is_known_to_err_neither_a_pass_nor_a_failure_counts(
    environment: dict[str, str], tables: Path, tmp_path: Path
) -> None:
    """An engine that shares the mistake would be green, and one that is right red; what was measured is told.

    What an engine does wrong without any reference is its own.
    """
    (tables / "rules.toml").write_text(
        '[[doubt]]\ncells = "fake-0.0.1*"\nreason = "its norm is another"\nlink = "https://example.org/1"\n'
    )
    select = ("run", "--matrix", tables, "--select", "fake-0.0.1*")
    done = readiness(environment, tmp_path, *select)
    assert statuses(tmp_path / "results") == {
        "0.0.1 loading": "PASS", "0.0.1 correctness": "REF-SUSPECT", "0.0.1 throughput": "PASS",
    }  # fmt: skip
    assert "its norm is another (https://example.org/1); PASS, " in " ".join(done.stdout.split())
    assert done.returncode == 0
    assert readiness(environment, tmp_path, *select, behaviour="fewer-rows").returncode == 1
    assert statuses(tmp_path / "results")["0.0.1 correctness"] == "FAIL"


def test_an_environment_that_cannot_be_built_leaves_the_others_decided_and_exits_3(
    environment: dict[str, str], tables: Path, tmp_path: Path
) -> None:
    """Our failure is grey, says why, and spoils nothing else."""
    spoiled = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, numpy_lock())
    (tables / "requirements" / "other.txt").write_text(spoiled)
    done = readiness(environment, tmp_path, "run", "--matrix", tables)
    assert done.returncode == 3
    found = statuses(tmp_path / "results")
    assert {v for k, v in found.items() if k.startswith("0.0.1")} == {"PASS"}
    assert {v for k, v in found.items() if k.startswith("0.0.2")} == {"ERROR"}
    assert "its environment could not be built" in done.stdout


def test_without_a_daemon_a_run_chooses_virtual_environments_and_says_why(
    environment: dict[str, str], tables: Path, tmp_path: Path
) -> None:
    """Nobody has to know which launcher a machine can use."""
    profiles = tables / "profiles.toml"
    profiles.write_text(profiles.read_text().replace('launcher = "venv"\n', ""))
    away = {**environment, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    done = readiness(away, tmp_path, "run", "--matrix", tables, "--select", "fake-0.0.1*")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("launcher: venv (no Docker daemon answers)\n")


def test_containers_without_a_daemon_are_our_error(environment: dict[str, str], tables: Path, tmp_path: Path) -> None:
    """Asked for and not to be had: grey, with the reason, and exit status 3."""
    away = {**environment, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    done = readiness(away, tmp_path, "run", "--matrix", tables, "--launcher", "docker")
    assert done.returncode == 3
    assert set(statuses(tmp_path / "results").values()) == {"ERROR"}
    assert "its image could not be built: no Docker daemon answers" in done.stdout
    build = readiness(away, tmp_path, "images", "build")
    assert (build.returncode, build.stdout) == (3, "")
    assert build.stderr.startswith("readiness: no Docker daemon answers")


@pytest.fixture
def containers(environment: dict[str, str], tables: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The fake engine has a Dockerfile, and a checkpoint folder to mount; its images go with the test."""
    if daemon.version() is None:
        absent("docker", "a Docker daemon", "install Docker Engine and start dockerd")
    (tables / "images" / "fake").mkdir(parents=True)
    (tables / "images" / "fake" / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "pocket").mkdir()
    try:
        yield environment
    finally:
        with daemon.connected() as client:
            for release, tag, _ in images.tags(client):
                if release.startswith("fake-"):
                    volume = images.kernels_volume(client.images.get(tag).id)
                    client.images.remove(tag, force=True)
                    for found in client.volumes.list():
                        if found.name == volume:
                            found.remove()


@pytest.mark.docker
def test_a_run_in_containers_on_two_workers(containers: dict[str, str], tables: Path, tmp_path: Path) -> None:
    """An image that cannot be built leaves the other cells decided; digest and relay show in the results."""
    spoiled = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, numpy_lock())
    (tables / "requirements" / "other.txt").write_text(spoiled)
    done = readiness(containers, tmp_path, "run", "--matrix", tables, "--launcher", "docker", "-n", "2")
    assert done.returncode == 3, done.stdout + done.stderr
    found = statuses(tmp_path / "results")
    assert {v for k, v in found.items() if k.startswith("0.0.1")} == {"PASS"}
    assert {v for k, v in found.items() if k.startswith("0.0.2")} == {"ERROR"}
    assert "its image could not be built" in done.stdout
    (loading,) = (tmp_path / "results").glob("*/fake-0.0.1*/loading.result.json")
    assert re.fullmatch("sha256:[0-9a-f]{64}", json.loads(loading.read_text())["provenance"]["image_digest"])
    assert held_by(tmp_path) == []


def held_by(folder: Path) -> list[str]:
    """What the daemon still holds of the runs whose results lie in a folder."""
    runs = {path.name for path in (folder / "results").iterdir()}
    with daemon.connected() as client:
        ours = daemon.containers(client)
        return [one.short_id for one in ours if one.labels[daemon.LABEL].partition("/")[0] in runs]


@pytest.mark.docker
def test_after_kill_9_reap_leaves_nothing(containers: dict[str, str], tables: Path, tmp_path: Path) -> None:
    """The run and its worker are gone at once; the command removes their containers, and finds nothing more after."""
    env = {**containers, BEHAVIOUR: "never-healthy"}
    command = [sys.executable, "-m", "readiness", "run", "--matrix", tables, "--launcher", "docker"]
    run = subprocess.Popen(
        [str(word) for word in [*command, "--select", "fake-0.0.1*"]], env=env, cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not (tmp_path / "results").is_dir() or len(held_by(tmp_path)) < 2:
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.2)
    run.kill()
    run.wait()
    assert len(held_by(tmp_path)) == 2
    assert readiness(containers, tmp_path, "reap").stdout.count("removed container") >= 2
    assert held_by(tmp_path) == []
    assert readiness(containers, tmp_path, "reap").stdout == ""


@pytest.mark.docker
def test_with_a_daemon_a_run_chooses_containers_and_an_engine_without_an_image_is_our_error(
    environment: dict[str, str], tables: Path, tmp_path: Path
) -> None:
    """What cannot be built as an image is grey and named."""
    version = daemon.version()
    if version is None:
        absent("docker", "a Docker daemon", "install Docker Engine and start dockerd")
    profiles = tables / "profiles.toml"
    profiles.write_text(profiles.read_text().replace('launcher = "venv"\n', ""))
    done = readiness(environment, tmp_path, "run", "--matrix", tables)
    assert done.returncode == 3
    assert done.stdout.startswith(f"launcher: docker (Docker Engine {version} answers)\n")
    assert "fake has no Dockerfile in runners/images/" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images", "build", "fake-9"), "unknown release 'fake-9' (did you mean"),
        (("run", "--profile", "quik"), "unknown profile 'quik' (did you mean 'quick'?"),
        (("run", "--select", "nothing-*"), "--select 'nothing-*' matches no cell"),
        (("run", "--launcher", "ship"), "launcher 'ship'"),
        (("plan", "--night", "../tonight"), "'../tonight' is not made of letters"),
        (("plan", "--matrix", "nowhere"), "engines.toml: no such file"),
        (("grid", "--results", "nowhere"), "no results in nowhere"),
        (("show", "nothing"), "no result of a cell 'nothing'"),
        (("judge",), "no run with results"),
        (("bugs", "--file"), "--file needs the repository of our tracker (--repo or"),
        (("bugs", "--repo", "nowhere"), "'nowhere' is no repository: expected owner/name"),
        (("collect", "nowhere"), "Missing option '--into'"),
        (("verify", "ftp://x", "--model", "m"), "'ftp://x' is no URL"),
        (("run", "--no-such-option"), "No such option"),
    ],
)
def test_wrong_input_is_one_message_and_exit_2(
    environment: dict[str, str], tables: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Nothing is started and nothing is written."""
    given = (
        arguments if "--matrix" in arguments or arguments[0] in ("grid", "show", "judge", "bugs", "collect") else None
    )
    words = arguments if given else (*arguments, "--matrix", str(tables))
    done = readiness(environment, tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in re.sub(r"\s+", " ", done.stderr) or message in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("dist", [(), ("--dist", "loadgroup")], ids=["", "loadgroup"])
def test_pytest_alone_starts_each_engine_exactly_once_on_two_workers(
    environment: dict[str, str], tables: Path, tmp_path: Path, dist: tuple[str, ...]
) -> None:
    """`pytest probes -n 2` spreads cells, not probes, whatever --dist says."""
    command = [sys.executable, "-m", "pytest", str(ROOT / "probes"), "-n", "2", *dist]
    done = subprocess.run(
        [*command, "--matrix", str(tables), "--cells", "fake-*__pocket__*"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    results = [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*/*/*.result.json")]
    starts = {(result["cell_id"], result["provenance"]["startup_s"]) for result in results}
    assert (len(results), len(starts)) == (6, 2)  # two starts never take the same time to the microsecond
    assert set(statuses(tmp_path / "results").values()) == {"PASS"}
    assert (tmp_path / "junit.xml").is_file()


def test_judge_gives_the_same_verdicts_from_disk(environment: dict[str, str], tables: Path, tmp_path: Path) -> None:
    """No engine runs, and every stored verdict comes out again; a changed one exits 1."""
    assert readiness(environment, tmp_path, "run", "--matrix", tables, "--select", "fake-0.0.1*").returncode == 0
    again = readiness(environment, tmp_path, "judge")
    assert again.returncode == 0
    assert again.stdout.count("PASS (same)") == 3
    (stored,) = (tmp_path / "results").glob("*/*/loading.measurement.json")
    stored.write_text(stored.read_text().replace('"healthy_after": true', '"healthy_after": false'))
    assert readiness(environment, tmp_path, "judge").returncode == 1


def test_show_and_grid_read_results_alone(environment: dict[str, str], tables: Path, tmp_path: Path) -> None:
    """Evidence and site come from files; no engine is needed."""
    readiness(environment, tmp_path, "run", "--matrix", tables, "--select", "fake-0.0.1*")
    shown = readiness(environment, tmp_path, "show", "fake-0.0.1__*")
    assert shown.returncode == 0
    assert "prefill_ratio = " in shown.stdout
    assert "command: python -P" in shown.stdout
    built = readiness(environment, tmp_path, "grid", "--site", "again", "--markdown", "grid.md")
    assert built.returncode == 0
    assert "| fake-0.0.1 | official | PASS " in (tmp_path / "grid.md").read_text()
    assert (tmp_path / "again" / "index.html").is_file()


def test_a_run_that_was_stopped_goes_on_where_it_was(environment: dict[str, str], tables: Path, tmp_path: Path) -> None:
    """Cells that are finished are left as they are; of the others nothing is lost but what was not measured."""
    select = ("--matrix", tables, "--select", "fake-0.0.1*")
    assert readiness(environment, tmp_path, "run", *select).returncode == 0
    (run,) = [path for path in (tmp_path / "results").iterdir() if path.is_dir()]
    finished = readiness(environment, tmp_path, "run", *select, "--resume", run.name)
    assert finished.returncode == 2
    assert "is finished" in " ".join(finished.stderr.split())
    (cut,) = run.glob("*/correctness.result.json")
    cut.unlink()
    spent = read_json(run / cost.FILE, Cost)
    write_json(run / cost.FILE, msgspec.structs.replace(spent, total_s=1e6))
    before = [path.name for path in (tmp_path / "results").iterdir()]
    assert readiness(environment, tmp_path, "run", *select, "--resume", run.name).returncode == 0
    assert cut.is_file()
    assert read_json(run / cost.FILE, Cost).total_s > 1e6  # what it took before is a part of what it took
    assert [path.name for path in (tmp_path / "results").iterdir()] == before
    unknown = readiness(environment, tmp_path, "run", *select, "--resume", "nowhere")
    assert (unknown.returncode, "no run in" in " ".join(unknown.stderr.split())) == (2, True)


KEY = "sesame"


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The fake engine started by hand, as somebody's deployment."""
    with bench.launched(adapter.ENGINE, tmp_path / "deployment") as server:
        yield server.base_url


@pytest.fixture
def guarded(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The same, behind a key, and seen healthy by whoever started it."""
    port = venv.free_port()
    command = [sys.executable, "-P", str(adapter.PROGRAM), "--port", str(port), "--behaviour", f"wants-key={KEY}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 30
        while not http.answers(f"{url}/health", headers={"Authorization": f"Bearer {KEY}"}):
            assert time.monotonic() < end
            time.sleep(0.1)  # polls for the server; bounded by `end`
        yield url
    finally:
        process.kill()
        process.wait()


def test_verify_asks_the_same_probes_of_a_running_server(
    environment: dict[str, str], tables: Path, tmp_path: Path, running: str
) -> None:
    """The engine is recognised, the verdicts are printed as JSON, and the server is left alone."""
    done = readiness(environment, tmp_path, "verify", running, "--model", "pocket", "--matrix", tables, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {r["probe"]: r["verdict"]["status"] for r in results} == {
        "loading": "PASS",
        "correctness": "PASS",
        "throughput": "PASS",
    }
    assert results[0]["cell_id"].endswith("__pocket__cpu__attached")


def test_verify_sends_the_key_and_keeps_it_to_itself(
    environment: dict[str, str], tables: Path, tmp_path: Path, guarded: str
) -> None:
    """With READINESS_API_KEY the server is judged; the key stands in no file and on no line."""
    ask = ("verify", guarded, "--model", "pocket", "--engine", "fake", "--matrix", tables)
    done = readiness({**environment, "READINESS_API_KEY": KEY}, tmp_path, *ask)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(statuses(tmp_path / "results").values()) == {"PASS"}
    assert KEY not in done.stdout + done.stderr
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert readiness(environment, tmp_path, *ask).returncode == 3


@pytest.mark.parametrize(
    ("number", "shell"),
    [(signal.SIGTERM, ()), (signal.SIGINT, ()), (signal.SIGTERM, ("sh", "-c", 'trap "" INT; exec "$@"', "sh"))],
    ids=["SIGTERM", "SIGINT", "SIGTERM in the background"],
)
def test_a_stopped_run_leaves_no_engine_behind(
    environment: dict[str, str],
    tables: Path,
    tmp_path: Path,
    mark: str,
    number: signal.Signals,
    shell: tuple[str, ...],
) -> None:
    """Ctrl-C and SIGTERM both take the engine down, and what never ran is recorded as NOTRUN."""
    command = [sys.executable, "-m", "readiness", "run", "--matrix", str(tables), "--select", "fake-0.0.1*"]
    env = {**environment, BEHAVIOUR: "stall"}
    process = subprocess.Popen(
        [*shell, *command],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=bench.heed_interrupts,
    )
    try:
        end = time.monotonic() + 60
        while not _serving(tmp_path) and time.monotonic() < end:
            time.sleep(0.1)  # polls for the engine; bounded by `end`
        assert len(bench.engines(mark)) == 1
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()
    assert bench.marked(mark) == []
    assert statuses(tmp_path / "results")["0.0.1 throughput"] == "NOTRUN"


def _serving(folder: Path) -> bool:
    logs = list(folder.glob("results/*/*/server.log"))
    return any("serves on port" in log.read_text() for log in logs)
