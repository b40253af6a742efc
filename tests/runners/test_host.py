"""Interpreters for many calls: each call is judged as a process of its own would be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from matrix.errors import Infrastructure, WrongInput
from runners.host import Host

PROGRAM = """
import os, sys, time

def command():
    return main

def main(words):
    kind = words[0]
    if kind == "say":
        os.write(1, b"past Python\\n")
        print(words[1], os.getpid())
    elif kind == "refuse":
        print("error: no such model", file=sys.stderr)
        return 2
    elif kind == "break":
        raise ValueError("a slip")
    elif kind == "exit":
        sys.exit(3)
    elif kind == "die":
        os._exit(9)
    elif kind == "sleep":
        time.sleep(60)
    elif kind == "meet":
        open(words[1], "w").close()
        until = time.monotonic() + 30
        while not os.path.exists(words[2]):
            assert time.monotonic() < until
            time.sleep(0.01)  # two processes that share nothing but files can only look again
        print(os.getpid())
    return 0
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__main__.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(Path(sys.executable)) as host:
        yield host


def test_calls_share_a_process_and_each_has_its_own_output(host: Host, program: Path) -> None:
    """What a library writes past Python is not taken for an answer."""
    first, second = host.run(program, "say", "one").split(), host.run(program, "say", "two").split()
    assert (first[0], second[0]) == ("one", "two")
    assert first[1] == second[1]


def test_two_interpreters_answer_side_by_side(program: Path, tmp_path: Path) -> None:
    """Each call waits here until the other has begun."""
    files = [str(tmp_path / "one"), str(tmp_path / "other")]
    with Host(Path(sys.executable), size=2) as host, ThreadPoolExecutor() as pool:
        first = pool.submit(host.run, program, "meet", *files)
        second = pool.submit(host.run, program, "meet", *reversed(files))
        assert first.result() != second.result()


def test_a_refusal_is_wrong_input_with_its_last_words(host: Host, program: Path) -> None:
    """Exit code 2 is what programs of this project say to a wrong input."""
    with pytest.raises(WrongInput, match="program exited with code 2: error: no such model"):
        host.run(program, "refuse")


@pytest.mark.parametrize(("kind", "words"), [("break", "code 1: ValueError: a slip"), ("exit", "code 3")])
def test_a_failure_is_ours_and_the_next_call_is_answered(host: Host, program: Path, kind: str, words: str) -> None:
    """An exception or an exit of one call ends that call alone."""
    with pytest.raises(Infrastructure, match=words):
        host.run(program, kind)
    assert host.run(program, "say", "still").startswith("still")


def test_a_death_is_told_and_the_next_call_starts_anew(host: Host, program: Path) -> None:
    """A segmentation fault in a library must not cost the rest of a run."""
    with pytest.raises(Infrastructure, match="ended with code 9"):
        host.run(program, "die")
    assert host.run(program, "say", "again").startswith("again")


def test_a_call_that_never_ends_is_ended(host: Host, program: Path) -> None:
    """Every wait has a deadline."""
    with pytest.raises(Infrastructure, match="took too long"):
        host.run(program, "sleep", deadline_s=0.5)
