"""The queries of the library as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace import queries
from kvmtrace.store.connection import Result

if TYPE_CHECKING:
    from kvmtrace.query_file import Parameter


def listed() -> Result:
    """Return a row for each query: its name, its parameters with their defaults, what it requires, what it is for."""
    rows = [
        (query.name, ", ".join(map(_described, query.parameters)), ", ".join(query.requires), query.purpose)
        for query in queries.catalogue()
    ]
    return Result(["query", "parameters", "requires", "purpose"], ["VARCHAR"] * 4, rows)


def _described(parameter: Parameter) -> str:
    return parameter.name if parameter.default is None else f"{parameter.name}={parameter.default}"
