"""`make bench-bugs`: failing results of known causes brought together, and scored; writes docs/signatures.md.

With --take, what the failing results of a folder are known by is first kept in own_results.json anew.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.bugs import cases, page
from tests.benchmarks.bugs.cases import Case
from tests.reports import nights

PAGE = Path(__file__).parents[3] / "docs" / "signatures.md"
FAULTS = Path(__file__).with_name("own_faults.toml")
OTHER_SEED = 7


def main(words: Sequence[str]) -> None:
    """Print the page and write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bugs", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--take", type=Path, metavar="DIR", help="results of our own runs")
    options = parser.parse_args(words)
    if options.take is not None:
        print(f"{cases.take(options.take, faults())} results kept")
    text = page.document(sets(), dt.datetime.now(dt.UTC).date())
    options.page.write_text(text, encoding="utf-8")
    print(text)


def faults() -> dict[tuple[str, str], str]:
    """The fault of each engine and model."""
    found = tomllib.loads(FAULTS.read_text(encoding="utf-8"))
    return {(engine, model): fault for engine, models in found.items() for model, fault in models.items()}


def sets() -> dict[str, list[Case]]:
    """Everything whose cause is known."""
    public, own = cases.public(), cases.own()
    return {
        "simulated nights": cases.simulated(nights.nights()),
        "simulated nights, another draw": cases.simulated(nights.nights(OTHER_SEED)),
        **{f"public errors, {name} set": [one for one in public if one.set == name] for name in cases.SETS},
        "public errors, all": public,
        "our own runs, words": [one for one in own if one.known.pattern is None],
        "our own runs, patterns": [one for one in own if one.known.pattern is not None],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
