"""A log that may be of any length: its beginning and its end are kept, and what lay between is said to be left out."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

HEAD_BYTES = 2 * 2**20
TAIL_BYTES = 4 * 2**20
MOST_BYTES = 16 * 2**20
"""At this size the middle is dropped; every drop is paid for by the megabytes that came since the last."""


class CappedLog:
    """A file that is written piece by piece and never exceeds `MOST_BYTES` by more than a piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._dropped = 0
        self._lock = threading.Lock()

    def __enter__(self) -> CappedLog:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w+b")  # a fresh log: an older one must not explain this death
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._file.close()

    def write(self, piece: bytes) -> None:
        """Append; readers see it at once. Raises ValueError once closed."""
        with self._lock:
            self._file.write(piece)
            self._file.flush()
            self._size += len(piece)
            if self._size > MOST_BYTES:
                self._drop_middle()

    def _drop_middle(self) -> None:
        self._file.seek(self._size - TAIL_BYTES)
        tail = self._file.read()
        self._dropped += self._size - HEAD_BYTES - TAIL_BYTES
        self._file.seek(HEAD_BYTES)
        self._file.write(f"\n[… {self._dropped} bytes of log left out here …]\n".encode() + tail)
        self._file.truncate()
        self._file.flush()
        self._size = self._file.tell()
