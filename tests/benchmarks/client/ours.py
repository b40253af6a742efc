"""Our client against the token server, in a process of its own as the other tools are."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import numpy as np

from probes.client import connect
from probes.loads import streams
from probes.stopwatch import Stopwatch
from probes.streamed import Streamed
from runners.engine import Ask, Prompt
from tests.token_server.running import server_at
from tests.token_server.serve import MODEL

FIRST_ID = 1000
"""Request number i asks with this plus i as the first id of its prompt, so that the log's answer to it can be told."""


def asks(requests: int, prompt_tokens: int, output_tokens: int) -> list[Ask]:
    """As many requests, told apart by the first id."""
    rest = tuple(range(1, prompt_tokens))
    return [
        Ask(
            model=MODEL,
            prompt=Prompt(token_ids=(FIRST_ID + index, *rest), text=""),
            max_tokens=output_tokens,
            ignore_eos=True,
            stream=True,
        )
        for index in range(requests)
    ]


async def measure(url: str, wanted: list[Ask], concurrency: int) -> list[Streamed]:
    """What the client makes of them, in their order."""
    async with connect(server_at(url), Stopwatch()) as client:
        return await streams(client, wanted, concurrency)


def main() -> None:
    """Write the metrics as JSON."""
    options = argparse.ArgumentParser()
    options.add_argument("--url", required=True)
    for name in ("requests", "concurrency", "prompt-tokens", "output-tokens"):
        options.add_argument(f"--{name}", type=int, required=True)
    options.add_argument("--report", type=Path, required=True)
    told = options.parse_args()
    found = asyncio.run(
        measure(told.url, asks(told.requests, told.prompt_tokens, told.output_tokens), told.concurrency)
    )
    seconds = max(s.sent_s + (s.end_s or 0.0) for s in found) - min(s.sent_s for s in found)
    each = [
        {"first_id": FIRST_ID + index, "ttft_s": s.ttft_s, "tpot_s": s.tpot_s, "end_s": s.end_s, "tokens": s.total}
        for index, s in enumerate(found)
    ]
    whole = {
        "output_tokens_per_s": sum(s.total or 0 for s in found) / seconds,
        "itl_s": float(np.median(np.concatenate([s.gaps_s for s in found]))),
        "answers": each,
    }
    told.report.write_text(json.dumps(whole))


if __name__ == "__main__":
    main()
