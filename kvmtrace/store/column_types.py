"""Arrow types, as manifests name them, and the DuckDB types that SQL sees.

Columns of one name may differ between runs: kernels widen their fields. `common_type` says which type holds them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNED = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT", 128: "HUGEINT"}
_UNSIGNED = {bits: f"U{name}" for bits, name in _SIGNED.items() if bits < max(_SIGNED)}
_BITS = {name: (bits, True) for bits, name in _SIGNED.items()} | {n: (bits, False) for bits, n in _UNSIGNED.items()}
_ARROW = {
    "bool": "BOOLEAN",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "string_view": "VARCHAR",
    "binary": "BLOB",
    "large_binary": "BLOB",
    "binary_view": "BLOB",
    **{f"int{bits}": name for bits, name in _SIGNED.items()},
    **{f"uint{bits}": name for bits, name in _UNSIGNED.items()},
}
_LIST = re.compile(r"(?:large_|fixed_size_)?list(?:_view)?<\w+: (.+?)(?: not null)?>(?:\[\d+\])?")
_DICTIONARY = re.compile(r"dictionary<values=(\w+), .*>")


def duckdb_type(arrow_type: str) -> str:
    """Return the DuckDB type of an Arrow type (`int32`, `list<item: uint8>`). StoreError: no stored column has it."""
    if arrow_type in _ARROW:
        return _ARROW[arrow_type]
    if arrow_type.startswith("fixed_size_binary["):
        return "BLOB"
    if match := _LIST.fullmatch(arrow_type):
        return f"{duckdb_type(match[1])}[]"
    if match := _DICTIONARY.fullmatch(arrow_type):
        return duckdb_type(match[1])
    raise StoreError(f"expected the type of a stored column, found {arrow_type!r}", hint="use a newer kvmtrace")


def common_type(types: Iterable[str]) -> str | None:
    """Return the narrowest DuckDB type that holds every value of `types`; None: there is none."""
    distinct = set(types)
    if len(distinct) == 1:
        return distinct.pop()
    if all(t.endswith("[]") for t in distinct):
        element = common_type(t.removesuffix("[]") for t in distinct)
        return element and f"{element}[]"
    if distinct == {"FLOAT", "DOUBLE"}:
        return "DOUBLE"
    # A kernel's bool is one byte, and some fields changed between bool and u8.
    widths = [(8, False) if t == "BOOLEAN" else _BITS.get(t) for t in distinct]
    integers = [width for width in widths if width]
    return _covering_integer(integers) if len(integers) == len(widths) else None


def _covering_integer(widths: list[tuple[int, bool]]) -> str:
    if not any(signed for _, signed in widths):
        return _UNSIGNED[max(bits for bits, _ in widths)]
    return _SIGNED[max(bits if signed else 2 * bits for bits, signed in widths)]
