"""Writes a support archive: bounded in size, without secrets, with a list of what was left out."""

from __future__ import annotations

import io
import tarfile

from dpunetop.domain.support.scrubbing import Scrubber, as_text

MOST_FILE_BYTES = 1 << 20
MOST_BYTES = 64 << 20
"""Of all files, before they are compressed."""
_CUT = "... (the beginning was left out)\n"


class Archive:
    """A tar.gz.

    Guarantees: every byte has gone through the scrubber; a file that would make the archive too large is left out and
        listed. Only its owner can read it, also once unpacked.
    Threads: one.
    """

    def __init__(self, tar: tarfile.TarFile, scrubber: Scrubber, folder: str, time: float) -> None:
        """`time` is the modification time of all files, in seconds of the epoch."""
        self._tar = tar
        self._scrubber = scrubber
        self._folder = folder
        self._time = int(time)
        self._bytes = 0
        self.files = 0
        self.left_out: list[str] = []

    def text(self, path: str, text: str) -> None:
        """Add a text; of a long one only the end."""
        self._put(path, self._scrubber.text(text))

    def document(self, path: str, value: object) -> None:
        """Add a document; each of its strings is scrubbed separately."""
        self._put(path, as_text(self._scrubber.tree(value)))

    def leave_out(self, what: str, why: str) -> None:
        """Record that something is not in the archive."""
        self.left_out.append(self._scrubber.text(f"{what}: {why}"))

    def close(self) -> None:
        """Add the file left-out.txt."""
        listed = "\n".join(self.left_out) or "nothing"
        self._add("left-out.txt", f"{listed}\n".encode())

    def _put(self, path: str, clean: str) -> None:
        data = clean.encode("utf-8", "replace")
        if len(data) > MOST_FILE_BYTES:
            data = _CUT.encode() + data[-MOST_FILE_BYTES:]
            self.leave_out(path, f"all but its last {MOST_FILE_BYTES >> 10} KiB")
        if self._bytes + len(data) > MOST_BYTES:
            self.leave_out(path, f"the archive holds {MOST_BYTES >> 20} MiB already")
            return
        self._add(path, data)

    def _add(self, path: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{self._folder}/{self._scrubber.text(path)}")
        entry.size, entry.mode, entry.mtime = len(data), 0o600, self._time
        self._tar.addfile(entry, io.BytesIO(data))
        self._bytes += len(data)
        self.files += 1
