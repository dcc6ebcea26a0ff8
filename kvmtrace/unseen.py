"""What a host's kernel does for its guests without firing a tracepoint, so that no recording of it can tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Unseen:
    """One such path: on which machines, up to which kernel, and what is to be said of it."""

    arch: str  # what the architecture begins with
    processors: tuple[str, ...]  # what the processor begins with; one that is not recorded is one of them
    before: tuple[int, int] | None  # release of the kernel that goes another way; None: all go this way
    sentence: str


_REAL_MODE = (
    "Not seen: hypercalls and interrupts that the real-mode handlers of {} answer fire no tracepoint, "
    "and are in no figure."
)
PATHS = (
    # arch/powerpc/kvm/book3s_hv_rmhandlers.S; Linux 5.14 left it to POWER8 and older processors.
    Unseen("ppc64", ("POWER9", "POWER10"), (5, 14), _REAL_MODE.format("kernels before 5.14")),
    Unseen("ppc64", ("POWER7", "POWER8"), None, _REAL_MODE.format("this processor's path")),
)


def unseen(manifest: Manifest) -> Iterable[str]:
    """Say what a recording cannot tell, as far as host, processor and kernel are recorded."""
    arch, kernel = str(manifest.host.get("arch", "")), release(str(manifest.host.get("kernel", "")))
    processor = str(manifest.host.get("cpu", ""))
    for path in PATHS if manifest.kind == "recording" else ():
        old = path.before is None or (kernel is not None and kernel < path.before)
        known = processor.startswith(path.processors) or (not processor and path.before is not None)
        if arch.startswith(path.arch) and known and old:
            yield path.sentence


def release(kernel: str) -> tuple[int, int] | None:
    """Return the first two numbers of a kernel's release; None: not recorded."""
    numbers = re.match(r"(\d+)\.(\d+)", kernel)
    return None if numbers is None else (int(numbers[1]), int(numbers[2]))
