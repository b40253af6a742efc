"""The fake engine with a history: READINESS_ENGINES=tests.fake_engine.released.

Its releases are those of a small package of the index; from FAULTY on its logprobs are shifted.
"""

from __future__ import annotations

import msgspec
from packaging.version import Version

from runners.engine import Launch
from tests.fake_engine import adapter, whole_run

FAULTY = Version("2.1.0")


def command(launch: Launch) -> tuple[str, ...]:
    faulty = Version(launch.cell.release.version) >= FAULTY
    return (adapter.fake_engine("shifted") if faulty else whole_run.ENGINE).command(launch)


ENGINE = msgspec.structs.replace(whole_run.ENGINE, command=command)
