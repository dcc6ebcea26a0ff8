"""Damaged inputs of every format, for as long as one likes: `make fuzz`, or
`PYTHONPATH=tests python -m tests.fuzz SECONDS [SEED]`.

Each round takes a recording or a text of tests/data, damages it, and reads it to its end. It may give rows and notes or
one InputError; anything else (another exception, a hang, memory beyond measure) is kept as a file and is a failure.
"""

from __future__ import annotations

import gzip
import lzma
import os
import random
import resource
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard
from fuzz_made import made

from kvmtrace.errors import InputError
from kvmtrace.formats import detect
from kvmtrace.formats.archives import is_archive, members
from kvmtrace.formats.source import ReadOptions, Source
from kvmtrace.recording import TableSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

DATA = Path(__file__).parent / "data"
_LARGEST = 1 << 19  # bytes of an input that is damaged: larger ones take too long for what they find
_BEGINNING = 1 << 16  # bytes of a larger text: all lines of events are alike
_PATIENCE_S = 30
_MEMORY_BYTES = 6 << 30  # of address space: libraries map much that they never touch
_CLOCK_HZ = 1_000_000_000
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda packed: bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed)),
}


class HangError(Exception):
    """Reading took longer than anybody waits for."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """An input, and what was done to it."""

    name: str
    content: bytes


def survive(content: bytes, format_name: str | None = None) -> int:
    """Read an input to its end and return how many rows it gave; InputError, and nothing else, is one way to end."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the source closes it
    file.write(content)
    file.flush()
    options = ReadOptions(clock_hz=_CLOCK_HZ, max_unpacked_bytes=1 << 26)
    with Source("damaged", file, options) as source:
        if not is_archive(source.head()):
            return _read(source, format_name)
        rows = 0
        for member in members(source):
            if isinstance(member, Source):
                with member:
                    rows += _read(member, format_name)
        return rows


def _read(source: Source, format_name: str | None) -> int:
    rows = 0
    try:
        for content in detect.read(source, format_name):
            if isinstance(content, TableSet):
                content.rows.validate(full=True)
                rows += content.rows.num_rows
                continue
            for block in content.blocks():
                for fields in block.fields.values():
                    for column in fields.arrow().values():
                        column.validate(full=True)
                rows += len(block.ts_ns)
    except InputError as error:
        if "\n" in error.message:
            raise ValueError(f"an error of several lines: {error.message!r}") from error
    return rows


@cache
def corpus() -> list[Damaged]:
    """Return the small inputs of tests/data, uncompressed, the beginnings of larger texts, and what is made."""
    inputs = [Damaged(name, content) for name, content in made().items()]
    for path in sorted(path for path in DATA.rglob("*") if path.is_file() and path.suffix != ".md"):
        content = path.read_bytes()
        if path.suffix in _UNPACK:
            content = _UNPACK[path.suffix](content)
        if path.name.partition(".txt")[1] and len(content) > _LARGEST:
            content = content[:_BEGINNING]
        if len(content) <= _LARGEST:
            inputs.append(Damaged(path.relative_to(DATA).as_posix(), content))
    return inputs


def rounds(seed: int) -> Iterator[Damaged]:
    """Yield damaged inputs without end, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    inputs = corpus()
    while True:
        taken = chance.choice(inputs)
        content = bytearray(taken.content)
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            chance.choice(_DAMAGES)(content, chance)
        yield Damaged(taken.name, bytes(content))


def _flip(content: bytearray, chance: random.Random) -> None:
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _number(content: bytearray, chance: random.Random) -> None:
    """Write a number that lengths and counts are compared with."""
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice((0, 1, (1 << 8 * width) - 1, 1 << 8 * width - 1, chance.getrandbits(8 * width)))
    place = chance.randrange(len(content) + 1)
    content[place : place + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content) + 1) :]


def _remove(content: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(content) + 1)
    del content[place : place + chance.choice((1, 8, 100))]


def _repeat(content: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(content) + 1)
    content[place:place] = content[place : place + chance.choice((1, 80, 4096))]


def _text(content: bytearray, chance: random.Random) -> None:
    """Put in what texts are told apart by."""
    place = chance.randrange(len(content) + 1)
    digits = b"9" * chance.choice((3, 20, 400))
    content[place:place] = chance.choice((*_TELLING, digits))


_TELLING = (b"\n", b"\r\n", b" ", b": ", b"=3D", b"=\n", b"> ", b"\0", b"\xff\xfe", b"-", b"%", b"\x1b[31m", b"nan")
_DAMAGES = (_flip, _flip, _number, _cut, _remove, _repeat, _text)


@contextmanager
def patience() -> Iterator[None]:
    """Raise HangError where what is done takes longer than anybody waits for. Only in a program's first thread."""
    before = signal.signal(signal.SIGALRM, _hang)
    signal.alarm(_PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hang(_: int, __: FrameType | None) -> None:
    raise HangError(f"longer than {_PATIENCE_S} s")


def main(seconds: float, seed: int) -> int:
    """Read damaged inputs for so many seconds; return how many did harm."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    end = time.monotonic() + seconds
    done = harm = 0
    for damaged in rounds(seed):
        if time.monotonic() > end:
            break
        try:
            with patience():
                survive(damaged.content)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            harm += 1
            kept = Path(tempfile.gettempdir()) / f"kvmtrace-fuzz-{seed}-{done}"
            kept.write_bytes(damaged.content)
            sys.stdout.write(f"{damaged.name}: {type(error).__name__}: {error}\n  {kept}\n")
        done += 1
    sys.stdout.write(f"{done} damaged inputs, seed {seed}: {harm} did harm\n")
    return harm


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:3]]
    sys.exit(bool(main(given[0] if given else 60, int(given[1]) if len(given) > 1 else os.getpid())))
