"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING

from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to; it takes the target's place once all went well, else it goes.

    Where `target` is a link, the file that it leads to is replaced. UsageError: it is a folder, a pipe or a device.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is no regular file", hint="give a name of a file")
    handle, name = mkstemp(prefix=f".{target.name}.", dir=target.parent)
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)  # as `open` would have made it
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
