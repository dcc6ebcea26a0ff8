"""Makes a large trace.dat of kvm_exit and kvm_entry: `python -m trace_dat_large -n 4000000 TARGET`.

Eight CPUs, a vCPU thread on each, which moves to the next CPU from time to time; every field of an exit varies. The
same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.writers.trace_dat_file import BufferContent, TraceDat

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = Path(__file__).parents[1] / "kvmtrace" / "synth" / "layouts" / "x86_64" / "kvm"
PAGE_BYTES = 4096
CPUS = 8
FIRST_TID = 4711
_DATA_OFFSET = 16
_EXIT_BYTES, _ENTRY_BYTES = 60, 28  # of the formats of Linux 6.1
_PAIR_BYTES = 4 + _EXIT_BYTES + 4 + _ENTRY_BYTES
PAIRS_OF_PAGE = (PAGE_BYTES - _DATA_OFFSET) // _PAIR_BYTES
_MEAN_NS = 2000

_PAIR = np.dtype(
    {
        "names": [
            *("exit_head", "exit_type", "exit_tid", "exit_reason", "guest_rip", "isa", "info1", "info2"),
            *("intr_info", "error_code", "exit_vcpu", "entry_head", "entry_type", "entry_tid", "entry_vcpu", "rip"),
        ],
        "formats": [
            *("<u4", "<u2", "<i4", "<u4", "<u8", "<u4", "<u8", "<u8"),
            *("<u4", "<u4", "<u4", "<u4", "<u2", "<i4", "<u4", "<u8"),
        ],
        "offsets": [0, 4, 8, 12, 20, 28, 36, 44, 52, 56, 60, 64, 68, 72, 76, 84],
        "itemsize": _PAIR_BYTES,
    }
)


def _texts() -> list[str]:
    return [(FORMATS / name).read_text() for name in ("kvm_exit.txt", "kvm_entry.txt")]


def _ids() -> tuple[int, int]:
    first, second = (int(text.split("ID: ", 1)[1].split("\n", 1)[0]) for text in _texts())
    return first, second


def cpu_pages(cpu: int, pages: int, seed: int = 1) -> bytes:
    """Return the pages of one CPU; every page is full."""
    chance = np.random.default_rng([seed, cpu])
    pairs = np.zeros((pages, PAIRS_OF_PAGE), _PAIR)
    shape = pairs.shape
    out = chance.integers(300, _MEAN_NS, shape)  # of the guest
    into = chance.integers(300, _MEAN_NS, shape)  # back to the guest
    vcpu = (cpu + np.arange(pages) // 64) % CPUS  # a vCPU stays for 64 pages
    exit_id, entry_id = _ids()
    into[:, 0] = 0  # the page's stamp is the time of its first event
    pairs["exit_head"] = into.astype(np.uint32) << 5 | _EXIT_BYTES // 4
    pairs["entry_head"] = out.astype(np.uint32) << 5 | _ENTRY_BYTES // 4
    pairs["exit_type"], pairs["entry_type"] = exit_id, entry_id
    pairs["exit_tid"] = pairs["entry_tid"] = (FIRST_TID + vcpu)[:, None]
    pairs["exit_vcpu"] = pairs["entry_vcpu"] = vcpu[:, None]
    pairs["exit_reason"] = chance.choice(np.array([10, 12, 30, 32, 48, 1], np.uint32), shape)
    pairs["guest_rip"] = chance.integers(1 << 46, 1 << 47, shape, np.uint64)
    pairs["rip"] = pairs["guest_rip"]
    pairs["isa"] = 1
    pairs["info1"] = chance.integers(0, 1 << 32, shape, np.uint64)
    pairs["info2"] = chance.integers(0, 1 << 12, shape, np.uint64)
    pairs["intr_info"] = chance.integers(0, 256, shape, np.uint32)
    raw = np.zeros((pages, PAGE_BYTES), np.uint8)
    used = PAIRS_OF_PAGE * _PAIR_BYTES
    raw[:, :8] = _stamps(into + out, cpu).view(np.uint8).reshape(pages, 8)
    raw[:, 8:_DATA_OFFSET] = np.full(pages, used, np.uint64).view(np.uint8).reshape(pages, 8)
    raw[:, _DATA_OFFSET : _DATA_OFFSET + used] = pairs.view(np.uint8).reshape(pages, used)
    return raw.tobytes()


def _stamps(spans: NDArray[np.int64], cpu: int) -> NDArray[np.uint64]:
    """Return the time of each page's first event: some time behind the last one of the page before."""
    whole = spans.sum(axis=1) + 700
    return (10**12 + cpu + np.concatenate([[0], np.cumsum(whole)[:-1]])).astype(np.uint64)


def large_file(events: int, *, version: int = 7, compression: str = "none", seed: int = 1) -> bytes:
    """Return a trace.dat of at least `events` events."""
    pages = -(-events // (2 * PAIRS_OF_PAGE * CPUS))
    buffer = BufferContent({cpu: cpu_pages(cpu, pages, seed) for cpu in range(CPUS)})
    threads = {FIRST_TID + vcpu: f"CPU {vcpu}/KVM" for vcpu in range(CPUS)}
    file = TraceDat({"kvm": _texts()}, [buffer], version=version, compression=compression, threads=threads)
    return file.content()


def main() -> None:
    """Write a file as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("-n", "--events", type=int, default=4_000_000)
    parser.add_argument("--version", type=int, default=7)
    parser.add_argument("--compression", default="none")
    arguments = parser.parse_args()
    content = large_file(arguments.events, version=arguments.version, compression=arguments.compression)
    arguments.target.write_bytes(content)


if __name__ == "__main__":
    main()
