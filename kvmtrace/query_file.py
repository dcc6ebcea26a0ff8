"""What a file of queries/**/*.sql is: a header that is checked, then one SELECT.

    -- purpose: Writes of each MSR.
    -- requires: kvm_msr
    -- uses: interrupt-chain
    -- field kvm_msr.ecx UBIGINT: MSR.
    -- param run_id VARCHAR: Run to report on.
    -- param top BIGINT = 20: At most so many rows.
    -- column msr UBIGINT: MSR.

`requires` are tables that the run must have. A `field` is a column of a tracepoint's table that the query reads: it has
that type whatever the kernel recorded, and is null where the kernel has no such field or the event never fired. A table
with a `field` that is not required is empty where it was not recorded.
`uses` are queries of the project that this one reads as tables: interrupt-chain is the table interrupt_chain. What they
require and read is required and read here, and their parameters are declared here too.
A parameter called run_id, or ending in _run_id, is a run: an id, a label or a source.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from kvmtrace import resources, schema
from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_HEADER = re.compile(r"-- (purpose|requires|uses|field|param|column)\b(.*)")
_TEXT = re.compile(r": (?P<text>.*\S)\s*")
_FIELD = re.compile(r" (?P<table>\w+)\.(?P<name>\w+) (?P<type>[^:]+): (?P<text>.*\S)\s*")
_PARAM = re.compile(r" (?P<name>\w+) (?P<type>\w+)(?: = (?P<default>.*?))?: (?P<text>.*\S)\s*")
_COLUMN = re.compile(r" (?P<name>\w+) (?P<type>[^:]+): (?P<text>.*\S)\s*")
_FORMS = {
    "purpose": _TEXT,
    "requires": _TEXT,
    "uses": _TEXT,
    "field": _FIELD,
    "param": _PARAM,
    "column": _COLUMN,
}
_Header = dict[str, list[tuple[int, dict[str, str | None]]]]  # kind → line numbers and parts
_NULL = "NULL"
_BIGINTS = {"BIGINT": range(-(1 << 63), 1 << 63), "UBIGINT": range(1 << 64)}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query; `default` is text as on the command line, None: a value must be given."""

    name: str
    type: str
    meaning: str
    default: str | None = None
    line: int = 0

    @property
    def is_run(self) -> bool:
        """Its value names a run."""
        return self.name == "run_id" or self.name.endswith("_run_id")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a query's result, or of a table that it reads."""

    name: str
    type: str
    meaning: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """One query; `name` is its path below queries/, without .sql."""

    name: str
    path: Path
    purpose: str
    requires: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    fields: dict[str, dict[str, str]]  # table → column → type
    sql: str
    header_lines: int  # lines of the file before the SQL, less those of the queries that it uses

    @property
    def table(self) -> str:
        """Return what a query that uses this one calls it."""
        return self.path.stem.replace("-", "_")

    def refuse(self, line: int, message: str) -> NoReturn:
        """Raise the UsageError that says what is wrong with the file, and where."""
        raise UsageError(f"{self.path}:{line}: {message}")


def read(path: Path) -> Query:
    """Read the query in a file. UsageError: the file or its header cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected an SQL file, found {error}") from None
    header: _Header = {kind: [] for kind in _FORMS}
    length = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    for number, line in enumerate(lines[:length], start=1):
        match = _HEADER.fullmatch(line)
        parts = match and _FORMS[match[1]].fullmatch(match[2])
        if not match or not parts:
            raise UsageError(
                f"{path}:{number}: expected a line of a query's header, found {line!r}",
                hint="-- purpose: …, -- requires: …, -- uses: …, -- field TABLE.NAME TYPE: …, "
                "-- param NAME TYPE [= default]: …, -- column NAME TYPE: …",
            )
        header[match[1]].append((number, parts.groupdict()))
    query = _query(path, header, lines)
    _check_header(query, header)
    return query


def _query(path: Path, header: _Header, lines: list[str]) -> Query:
    start = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("--")), len(lines))

    def text(parts: dict[str, str | None], key: str) -> str:
        return (parts[key] or "").strip()

    def listed(kind: str) -> list[str]:
        return [name.strip() for _, parts in header[kind] for name in text(parts, "text").split(",")]

    folder = resources.folder("queries")
    used = [read(folder / f"{name}.sql") for name in listed("uses")]
    own_sql = "\n".join(lines[start:])
    sql = _with_used(own_sql, used)
    fields = {table: dict(columns) for query in used for table, columns in query.fields.items()}
    for _, parts in header["field"]:
        fields.setdefault(text(parts, "table"), {})[text(parts, "name")] = text(parts, "type")
    return Query(
        name=(path.relative_to(folder) if path.is_relative_to(folder) else path).with_suffix("").as_posix(),
        path=path,
        purpose=" ".join(text(parts, "text") for _, parts in header["purpose"]),
        requires=tuple(dict.fromkeys([*(table for query in used for table in query.requires), *listed("requires")])),
        parameters=tuple(
            Parameter(text(p, "name"), text(p, "type"), text(p, "text"), p["default"], n) for n, p in header["param"]
        ),
        columns=tuple(Column(text(p, "name"), text(p, "type"), text(p, "text"), n) for n, p in header["column"]),
        fields=fields,
        sql=sql,
        header_lines=start + own_sql.count("\n") - sql.count("\n"),
    )


def _with_used(sql: str, used: Sequence[Query]) -> str:
    """Return the SELECT with the queries that it uses as tables of its own."""
    if not used:
        return sql
    tables = ",\n".join(f"{query.table} AS (\n{query.sql}\n)" for query in used)
    own = f",{sql[4:]}" if sql[:4].upper() == "WITH" else sql
    return f"WITH {tables}\n{own}"


def preceded_by(sql: str, tables: Sequence[str]) -> str:
    """Return a SELECT with tables, each as `name AS (SELECT …)`, before those of its own WITH."""
    if not tables:
        return sql
    first = re.match(r"\s*WITH\b", sql, re.IGNORECASE)
    rest = f",\n{sql[first.end() :]}" if first else f"\n{sql}"
    return f"WITH {', '.join(tables)}{rest}"


def _check_header(query: Query, header: _Header) -> None:
    for kind in ("purpose", "requires", "column"):
        if not header[kind] and not (kind == "requires" and header["uses"]):
            query.refuse(1, f"expected a line `-- {kind}` in the header, found none")
    for kind in ("param", "column"):
        names: set[str | None] = set()
        for number, parts in header[kind]:
            if parts["name"] in names:
                query.refuse(number, f"{kind} {parts['name']} is declared twice")
            names.add(parts["name"])
    for number, parts in header["field"]:
        if parts["table"] in schema.TABLES:
            query.refuse(number, f"expected a field of a tracepoint, found {parts['table']}")
    for parameter in query.parameters:
        _check_parameter(query, parameter)


def _check_parameter(query: Query, parameter: Parameter) -> None:
    if parameter.type not in _CASTS:
        query.refuse(parameter.line, f"expected a type of {', '.join(_CASTS)}, found {parameter.type}")
    if parameter.default is not None:
        try:
            cast(parameter, parameter.default)
        except UsageError as error:
            query.refuse(parameter.line, error.message)


def cast(parameter: Parameter, text: str) -> object:
    """Return the value of a parameter that was given as text; NULL is null. UsageError: it is of another type."""
    if text == _NULL:
        return None
    try:
        return _CASTS[parameter.type](text, parameter.type)
    except (ValueError, KeyError):
        raise UsageError(f"{parameter.name}: expected {parameter.type}, found {text!r}") from None


def _integer(text: str, type_: str) -> int:
    value = int(text, 0)
    if value not in _BIGINTS[type_]:
        raise ValueError
    return value


def _double(text: str, _: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_CASTS: dict[str, Callable[[str, str], object]] = {
    "VARCHAR": lambda text, _: text,
    "BIGINT": _integer,
    "UBIGINT": _integer,
    "DOUBLE": _double,
    "BOOLEAN": lambda text, _: _BOOLEANS[text.lower()],
}
