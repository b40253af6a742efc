"""Entries of the cache are complete or not there."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from matrix.errors import Infrastructure, WrongInput
from runners import cache

pytestmark = pytest.mark.usefixtures("cache_root")

CONTENT = b"weights of a model"


class Builder:
    """Writes one file and counts how often."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.built = 0

    def __call__(self, folder: Path) -> None:
        self.built += 1
        (folder / "sub").mkdir(exist_ok=True)
        (folder / "sub" / "file").write_bytes(self.content)


def ensure(builder: Builder, key: str = "key", *, keep_partial: bool = False, check_files: bool = True) -> Path:
    return cache.ensure("kind", key, builder, label="a label", keep_partial=keep_partial, check_files=check_files)


def used(key: str, days_ago: float) -> None:
    record = cache.root() / "kind" / f"{key}.json"
    moment = record.stat().st_mtime - days_ago * 86400
    os.utime(record, (moment, moment))


def test_an_entry_is_built_once() -> None:
    """The second call finds what the first one made."""
    builder = Builder()
    assert ensure(builder) == ensure(builder)
    assert builder.built == 1


def test_what_is_found_is_used_as_what_is_made() -> None:
    """Whoever passes on what a command used asks no clock."""
    ask = "cache.ensure('kind', 'key', sys.exit, label=''); print(cache.used_here())"
    ensure(Builder())
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from runners import cache; {ask}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "frozenset({('kind', 'key')})\n"


@pytest.mark.parametrize("content", [b"weights of a mODEL", CONTENT[:5], b""], ids=["damaged", "truncated", "empty"])
def test_a_changed_file_is_remade(content: bytes) -> None:
    """A file damaged at the same size, cut short or emptied is noticed, and the entry made anew."""
    builder = Builder()
    file = ensure(builder) / "sub" / "file"
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))
    assert (ensure(builder) / "sub" / "file").read_bytes() == CONTENT
    assert builder.built == 2


def test_a_missing_file_is_remade() -> None:
    """A file that is gone is noticed."""
    builder = Builder()
    (ensure(builder) / "sub" / "file").unlink()
    ensure(builder)
    assert builder.built == 2


def test_a_touched_file_is_not_remade() -> None:
    """Another time on the same content is no damage."""
    builder = Builder()
    os.utime(ensure(builder) / "sub" / "file")
    ensure(builder)
    assert builder.built == 1


@pytest.mark.parametrize("record", [None, "", '{"kind": "kind", "key"'], ids=["none", "empty", "half"])
def test_an_entry_without_its_record_is_remade(record: str | None) -> None:
    """The record is written last: without a whole one the entry is unfinished, and nothing of it is kept."""
    builder = Builder()
    folder = ensure(builder)
    (folder / "left over").touch()
    path = folder.with_name("key.json")
    path.unlink() if record is None else path.write_text(record)
    assert not (ensure(builder) / "left over").exists()
    assert builder.built == 2


def test_a_failed_build_leaves_nothing_finished() -> None:
    """A build that raises passes its error on, and the next call starts from nothing."""

    def fail(folder: Path) -> None:
        (folder / "part").touch()
        raise ValueError("the disk broke")

    with pytest.raises(ValueError, match="the disk broke"):
        cache.ensure("kind", "key", fail, label="a label")
    assert [entry.label for entry, _ in cache.entries()] == [cache.UNFINISHED]
    assert not (ensure(Builder()) / "part").exists()


def test_a_download_may_resume() -> None:
    """With keep_partial, what an interrupted build wrote is there for the next one, and counted into the entry."""

    def fail(folder: Path) -> None:
        (folder / "part").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.ensure("kind", "key", fail, label="a label", keep_partial=True)
    assert (ensure(Builder(), keep_partial=True) / "part").read_text() == "half"
    ((entry, _),) = cache.entries()
    assert set(entry.files) == {"part", "sub/file"}


def test_an_environment_is_not_checked_file_by_file() -> None:
    """Without check_files an entry is intact while its record and folder are there."""
    builder = Builder()
    (ensure(builder, check_files=False) / "sub" / "file").write_bytes(b"compiled later")
    ensure(builder, check_files=False)
    assert builder.built == 1


RACER = """
import sys, time
from pathlib import Path
from matrix.errors import Infrastructure, WrongInput
from runners import cache

def build(folder):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (folder / "file").write_text("whole")

print((cache.ensure("kind", "race", build, label="race") / "file").read_text())
"""


REMOVING = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
for path in sorted(folder.iterdir(), reverse=True):
    path.unlink()
folder.rmdir()
"""


def test_two_processes_build_once(tmp_path: Path) -> None:
    """Processes that want the same entry wait for the one that builds it."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", RACER, str(log)]
    root = Path(__file__).parents[2]
    racers = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [racer.communicate(timeout=30)[0] for racer in racers] == ["whole\n", "whole\n"]
    assert log.read_text() == "built\n"


def test_pruning_by_age_goes_by_last_use() -> None:
    """What was not used for longer than asked is removed, folder and record; the rest stays."""
    ensure(Builder(), "old")
    ensure(Builder(), "new")
    used("old", days_ago=10)
    removed = cache.prune(older_than=dt.timedelta(days=5))
    assert [entry.key for entry in removed] == ["old"]
    assert [entry.key for entry, _ in cache.entries()] == ["new"]
    assert not (cache.root() / "kind" / "old").exists()


def test_use_renews_an_entry() -> None:
    """Finding an entry counts as using it."""
    ensure(Builder(), "old")
    used("old", days_ago=10)
    ensure(Builder(), "old")
    assert cache.prune(older_than=dt.timedelta(days=5)) == []


def test_pruning_by_size_takes_the_longest_unused() -> None:
    """The longest unused go first, until the rest fits."""
    for days, key in enumerate("abc"):
        ensure(Builder(bytes(100)), key)
        used(key, days_ago=days)
    removed = cache.prune(max_bytes=250)
    assert [entry.key for entry in removed] == ["c"]


def test_an_interrupted_entry_is_listed_and_pruned() -> None:
    """What an interrupted build left takes up room too."""
    with pytest.raises(KeyboardInterrupt):
        cache.ensure("kind", "half", interrupted, label="a label")
    ((entry, _),) = cache.entries()
    assert (entry.label, entry.size) == (cache.UNFINISHED, 100)
    assert [entry.key for entry in cache.prune(max_bytes=0)] == ["half"]
    assert not (cache.root() / "kind" / "half").exists()


def interrupted(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(100))
    raise KeyboardInterrupt


def test_an_entry_in_the_making_is_not_pruned() -> None:
    """Whoever holds its lock goes on undisturbed."""

    def build(folder: Path) -> None:
        (folder / "file").write_bytes(CONTENT)
        assert cache.prune(max_bytes=0) == []

    made = cache.ensure("kind", "key", build, label="a label")
    assert (made / "file").read_bytes() == CONTENT


def test_pruning_without_a_limit_removes_nothing() -> None:
    """No limit given, nothing removed."""
    ensure(Builder())
    assert cache.prune() == []


def test_a_folders_digest_names_its_contents(tmp_path: Path) -> None:
    """The digest depends on names and contents alone."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("same")
    assert cache.folder_digest(tmp_path / "one") == cache.folder_digest(tmp_path / "two")
    (tmp_path / "two" / "file").rename(tmp_path / "two" / "other")
    assert cache.folder_digest(tmp_path / "one") != cache.folder_digest(tmp_path / "two")


def test_what_a_live_run_uses_is_not_pruned(cache_root: Path) -> None:
    """What was used since a run began that is still going stays; once its process is gone, it may go."""
    cache.ensure("models", "old", lambda folder: None, label="old")
    os.utime(cache_root / "models" / "old.json", (0, 0))
    cache.register_run("run")
    cache.ensure("models", "new", lambda folder: None, label="new")
    assert [entry.key for entry in cache.prune(max_bytes=-1)] == ["old"]
    (run,) = (cache_root / "runs").glob("*.run")
    run.write_text("run/1-0.00/x")
    assert [entry.key for entry in cache.prune(max_bytes=-1)] == ["new"]


def test_a_budget_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the variable must not prune anything, nor be ignored."""
    monkeypatch.setenv(cache.BUDGET, "100G")
    with pytest.raises(WrongInput, match="a number of GiB is expected"):
        cache.budget_bytes()
    monkeypatch.setenv(cache.BUDGET, "0.5")
    assert cache.budget_bytes() == 2**29


def test_what_lies_elsewhere_is_counted_and_removed_by_its_own_remover(cache_root: Path) -> None:
    """An image is an entry with its size; pruning calls what removes it, and keeps the entry where that fails."""
    cache.note("images", "a", label="readiness/a:1", size=10 * 2**30)

    def refuse(entry: cache.Entry) -> None:
        raise Infrastructure("in use")

    removed: list[str] = []
    assert cache.prune(max_bytes=2**30, removers={"images": refuse}) == []
    gone = cache.prune(max_bytes=2**30, removers={"images": lambda entry: removed.append(entry.label)})
    assert [entry.size for entry in gone] == [10 * 2**30]
    assert removed == ["readiness/a:1"]
    assert cache.entries() == []


def test_what_another_process_removes_meanwhile_is_left_out_of_the_list(cache_root: Path) -> None:
    """An entry without its record is measured file by file, and its files may go while it is."""
    folder = cache_root / "environments" / "going-1"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"{number:04}").write_text("x")
    going = subprocess.Popen([sys.executable, "-c", REMOVING, str(folder)])
    try:
        while going.poll() is None:
            assert {entry.key for entry, _ in cache.entries()} <= {"going-1"}
    finally:
        going.kill()
        going.wait()
    assert cache.entries() == []
