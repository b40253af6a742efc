"""The scripted checkpoint on real engines: it says what is written down, and what they make of it is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from matrix.load import PACKAGED
from matrix.results import Status
from probes import protocol
from probes.chat import formats, scripted
from probes.chat.conversations import CONVERSATIONS
from probes.probe import Bench
from probes.session import Options, Session
from probes.stopwatch import Stopwatch
from runners.host import Host

pytestmark = pytest.mark.engine

KNOWN = {
    "prompt": "unusual characters: counts 107 tokens of a prompt that has 106",
    "prescribed words": "an end that generation_config.json alone names: says it ended by 'length' and not by 'stop'; "
    "an end that generation_config.json alone names, streamed: says it ended by 'length' and not by 'stop'",
}
"""Of llama.cpp: it composes no characters before it looks for tokens, and its converter keeps one end alone."""


@pytest.fixture
def session(tmp_path: Path, reference_python: object) -> Session:
    return Session(Options(matrix=str(PACKAGED), profile="protocol", run=str(tmp_path), select=("llama-server-*",)))


def test_llama_server_falls_short_where_it_is_known_to_and_nowhere_else(session: Session) -> None:
    """Every other conversation, script, stream and bad request is taken rightly by a real server."""
    planned = session.plan[0]
    with session.serve(planned, Stopwatch()) as up:
        verdict = protocol.judge(protocol.measure(up.server, planned.cell, up.bench), planned.cell)
    session.close()
    assert verdict.status is Status.FAIL
    assert verdict.reason == "; ".join(f"{check}: {said}" for check, said in KNOWN.items())
    assert {verdict.evidence[f"answer to {name}"] for name in ("no JSON", "no messages", "a schema that is none")} == {
        "400"
    }


def test_a_scripted_checkpoint_is_the_same_every_time_and_reads_its_scripts(
    reference_python: Path, tmp_path: Path
) -> None:
    """Bit for bit; its record says how many steps there are, and no piece is reached by a prompt's text."""
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
        with Host(reference_python) as host:
            host.run(scripted.PROGRAM, "--format", str(formats.FOLDER / "hermes"), "--out", str(tmp_path / place))
    one, other = tmp_path / "one", tmp_path / "other"
    for name in ("model.safetensors", "tokenizer.json", "generation_config.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert json.loads((one / "checkpoint.json").read_text())["format"] == "hermes"
    tokenizer = Tokenizer.from_file(str(one / "tokenizer.json"))
    spoken = formats.load("hermes")
    markers = {tokenizer.token_to_id(word) for word in (*spoken.plain, spoken.eos)}
    for script in spoken.scripts:
        ids = tokenizer.encode(script.says, add_special_tokens=False).ids
        assert all(len(tokenizer.id_to_token(one) or "") == 1 for one in ids if one not in markers)


def test_the_reference_renders_with_calls_as_objects_and_names_every_end(session: Session) -> None:
    """Both ways to give a call's arguments are the same text here, and generation ends at two ids."""
    planned = session.plan[0]
    checkpoint = session.checkpoint(planned.cell.model)
    bench = Bench(reference=session.reference(planned.cell, checkpoint, Stopwatch()), watch=Stopwatch())
    renders = bench.reference.renders(CONVERSATIONS)
    session.close()
    tokenizer = bench.reference.tokenizer()
    assert [tokenizer.id_to_token(one) for one in renders.stops] == ["<|im_end|>", "<|over|>"]
    assert {len(ways) for ways in renders.rendered} == {1}
    text = renders.rendered[6][0].text
    assert '<tool_call>\n{"name": "tide_at", "arguments": {"port": "\u00c5rhus"}}\n</tool_call>' in text
    assert all(way.ids.count(renders.bos or -1) == 1 for ways in renders.rendered for way in ways)
