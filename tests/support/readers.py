"""What fakes of a Reader have in common with the real one."""

from __future__ import annotations

from typing import Any

from dpunetop.runtime.reading import Reader


class ReadsByName:
    """Answers `one` and `serves` by the fake's own `get`, as the real Reader answers them by its own."""

    one: Any = Reader.one
    serves: Any = Reader.serves
