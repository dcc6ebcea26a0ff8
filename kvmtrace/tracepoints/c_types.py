"""Sizes and signedness of C types, by the names that format texts use.

A format text states the size of every field; these names serve where it does not say enough: casts and sizeof in a
print fmt, elements of arrays of unknown length, and signedness in texts older than Linux 2.6.34.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

POINTER_SIZE = 8
"""Bytes of a pointer and of a long in kernels of today; a 32-bit recording has 4."""

QUALIFIERS = frozenset(
    {"const", "volatile", "restrict", "__user", "__kernel", "__iomem", "__rcu", "__percpu", "__force"}
)
AGGREGATES = frozenset({"struct", "union"})
_BASE_WORDS = frozenset({"unsigned", "signed", "char", "short", "int", "long"})
_FIXED_WIDTH = {1: "8", 2: "16", 4: "32", 8: "64"}
_LONG = 0  # stands for the size of a long


@dataclass(frozen=True, slots=True)
class CType:
    """An integer type: its size in bytes and its signedness."""

    size: int
    signed: bool


def _typedefs() -> dict[str, tuple[int, bool]]:
    names: dict[str, tuple[int, bool]] = {}
    for size, width in _FIXED_WIDTH.items():
        unsigned = (f"u{width}", f"__u{width}", f"uint{width}_t", f"__le{width}", f"__be{width}", f"u_int{width}_t")
        names |= dict.fromkeys(unsigned, (size, False))
        names |= dict.fromkeys((f"s{width}", f"__s{width}", f"int{width}_t"), (size, True))
    names |= dict.fromkeys(("bool", "_Bool", "uchar"), (1, False))
    names |= dict.fromkeys(("umode_t", "ushort"), (2, False))
    names |= dict.fromkeys(("uint", "uid_t", "gid_t", "dev_t", "gfp_t"), (4, False))
    names |= dict.fromkeys(("pid_t", "clockid_t"), (4, True))
    names |= dict.fromkeys(("gpa_t", "gfn_t", "hpa_t", "hfn_t", "kvm_pfn_t", "pfn_t", "sector_t"), (8, False))
    names |= dict.fromkeys(("loff_t", "ktime_t", "time64_t"), (8, True))
    names |= dict.fromkeys(("ulong", "size_t", "uintptr_t", "ino_t", "gva_t", "hva_t"), (_LONG, False))
    names |= dict.fromkeys(("ssize_t", "intptr_t", "ptrdiff_t"), (_LONG, True))
    return names


_TYPEDEFS = _typedefs()


def integer_type(words: Iterable[str], long_size: int = POINTER_SIZE) -> CType | None:
    """Return the integer type that a declaration's words name, in any order, or None: not known to be one."""
    named = [word for word in words if word not in QUALIFIERS]
    if len(named) == 1 and named[0] in _TYPEDEFS:
        size, signed = _TYPEDEFS[named[0]]
        return CType(size or long_size, signed)
    if named and named[0] == "enum":
        return CType(4, signed=False)
    if not named or not _BASE_WORDS.issuperset(named):
        return None
    counts = Counter(named)
    if counts["char"]:
        size = 1
    elif counts["short"]:
        size = 2
    elif counts["long"]:
        size = long_size if counts["long"] == 1 else 8
    else:
        size = 4
    return CType(size, signed=not counts["unsigned"])


def names_a_type(words: list[str]) -> bool:
    """Tell whether a run of words is a type rather than an expression: `unsigned long`, `struct x`, `u8`, `gfn_t`."""
    if not words:
        return False
    keywords = QUALIFIERS | AGGREGATES | _BASE_WORDS | {"enum", "void"}
    return words[0] in keywords or words[0] in _TYPEDEFS or (len(words) == 1 and words[0].endswith("_t"))
