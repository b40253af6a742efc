"""The command that writes locks anew; what a lock is made of is tested with what needs one."""

from __future__ import annotations

import pytest

from runners import lock


def test_a_name_that_has_no_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is resolved: a typo must not look like a lock that was written."""
    with pytest.raises(SystemExit, match=r"no vllm-0\.0\.in, x\.in in .*requirements"):
        lock.main(["vllm-0.32.0", "vllm-0.0", "x"])
    assert capsys.readouterr().out == ""
