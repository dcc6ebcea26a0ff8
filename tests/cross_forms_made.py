"""Other forms of a recording: what perf and trace-cmd make of it, and the pages of a ring buffer as a trace.dat."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import zstandard

from kvmtrace.writers.trace_dat_file import BufferContent, TraceDat

if TYPE_CHECKING:
    from pathlib import Path


def unpacked(path: Path, folder: Path) -> Path:
    """Return a file without zstd around it: perf and trace-cmd read none."""
    if path.suffix != ".zst":
        return path
    content = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    return written(content, folder / path.name.removesuffix(".zst"))


def written(content: bytes, path: Path) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def perf_script(path: Path, folder: Path, *options: str) -> Path:
    """Return what `perf script` prints of a perf.data."""
    command = ["perf", "script", "--guest-code", *options, "-i", str(unpacked(path, folder))]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    return written(printed, folder / "script.txt")


def trace_cmd_report(path: Path, folder: Path, *options: str) -> Path:
    """Return what `trace-cmd report` prints of a trace.dat."""
    command = ["trace-cmd", "report", *options, "-i", str(unpacked(path, folder))]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    return written(printed, folder / "report.txt")


def converted(path: Path, folder: Path, version: int) -> Path:
    """Return a trace.dat in another version, as `trace-cmd convert` writes it."""
    target = folder / f"version{version}.dat"
    command = ["trace-cmd", "convert", "-i", str(unpacked(path, folder)), "-o", str(target)]
    options = ["--file-version", str(version), *(["--compression", "zstd"] if version == 7 else [])]
    subprocess.run([*command, *options], check=True, capture_output=True)
    return target


def trace_dat_of_pages(pages: bytes, formats: Path, clock: str) -> bytes:
    """Return a trace.dat of what trace_pipe_raw gave of the only CPU; `formats`: the folder of its kernel's formats."""
    header = (formats / "header_page.txt").read_text()
    size = re.search(r"char data;\toffset:(\d+);\tsize:(\d+)", header)
    assert size is not None
    page_bytes = int(size[1]) + int(size[2])
    assert len(pages) % page_bytes == 0
    systems = dict(line.split(":")[::-1] for line in (formats / "available_events.txt").read_text().split())
    by_system: dict[str, list[str]] = {}
    for text in re.split(r"(?m)^(?=name: )", (formats / "formats.txt").read_text())[1:]:
        name = text.split("\n", 1)[0].removeprefix("name: ")
        by_system.setdefault(systems[name], []).append(text)
    buffer = BufferContent({0: pages}, clock=clock, page_bytes=page_bytes)
    return TraceDat(by_system, [buffer], page_bytes=page_bytes, header_page=header).content()
