"""The reference of the docs, from the code: every command, every query, every table and column."""

from __future__ import annotations

import inspect
import itertools
from enum import EnumType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer

from kvmtrace import cli, queries, schema
from kvmtrace.errors import ExitCode, KvmtraceError
from kvmtrace.store import manifest_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmtrace.query_file import Query

_EXIT_CODES = {
    ExitCode.OK: "done; of a check: within every budget",
    ExitCode.CHECK_FAILED: "over a budget, out of a model's tolerance, notes where `--strict` wants none",
    ExitCode.USAGE: "the command line, a name, a query or a statement is wrong",
    ExitCode.BAD_INPUT: "a file, the store or a place to write to cannot be used",
    ExitCode.UNDECIDED: "over no budget, and one at least could not be decided from what was recorded",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}
_OF_PROGRAM = {
    "report/": "what `kvmtrace report` reads",
    "compare/": "what `kvmtrace compare` reads",
    "whatif/": "what `kvmtrace whatif` reads",
}


def commands() -> dict[str, Any]:
    """Return the commands of the program by name ("report", "runs rm", …; "" is the program), as in its help."""
    return dict(_walk("", typer.main.get_command(cli.app)))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer does not name its base class
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}".strip(), below)


def command_reference() -> str:
    """Return every command with its usage, arguments and options."""
    lines = [
        "",
        "## Exit codes",
        "",
        *_table(("exit code", "meaning"), [(str(int(c)), _EXIT_CODES[c]) for c in ExitCode]),
    ]
    for name, command in commands().items():
        program = f"kvmtrace {name}".strip()
        context = typer.Context(command, info_name=program)
        types = get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
        parameters: dict[str, list[Any]] = {"argument": [], "option": []}
        for parameter in command.params:
            parameters[parameter.param_type_name].append(parameter)
        below = [_below(command)] if getattr(command, "commands", {}) else []
        usage = " ".join([program, "[OPTIONS]", *below, *(_argument(p, in_usage=True) for p in parameters["argument"])])
        lines += [f"## {program}", "", " ".join((command.help or "").split()), "", "```text", usage, "```", ""]
        given = parameters["argument"]
        arguments = [(f"`{_argument(p)}`".replace(" | ", "` or `"), _meaning(p, context)) for p in given]
        lines += _table(("argument", "what it is"), arguments)
        options = [(_names(p), _values(p, types), _meaning(p, context)) for p in parameters["option"]]
        lines += _table(("option", "value", "what it does"), options)
        lines += [f"Exit codes: {', '.join(_exit_codes(command))}.", ""] if name else []
    return "\n".join(lines) + "\n"


def _exit_codes(command: Any) -> list[str]:  # noqa: ANN401
    """Return what a command may end with: what any may, and the codes of the errors that its module knows."""
    module = inspect.getmodule(inspect.unwrap(command.callback))
    codes = {ExitCode.OK, ExitCode.USAGE, ExitCode.BAD_INPUT, ExitCode.INTERRUPTED}
    for known in vars(module).values():
        if isinstance(known, type) and issubclass(known, KvmtraceError):
            codes.add(known.exit_code)
    return [str(int(code)) for code in sorted(codes)]


def _below(group: Any) -> str:  # noqa: ANN401
    return "[COMMAND]" if group.invoke_without_command else "COMMAND"


def _argument(parameter: Any, *, in_usage: bool = False) -> str:  # noqa: ANN401
    name: str = (parameter.metavar or parameter.name.upper()).strip("[].")
    if not in_usage:
        return name
    repeated = f"{name}..." if parameter.nargs == -1 else name
    return repeated if parameter.required else f"[{repeated}]"


def _names(parameter: Any) -> str:  # noqa: ANN401
    return ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len, reverse=True))


def _values(parameter: Any, types: Mapping[str, Any]) -> str:  # noqa: ANN401
    """Return what an option takes; nothing for a flag."""
    if parameter.is_flag:
        return ""
    choices = _choices(types.get(parameter.name))
    return ", ".join(f"`{value}`" for value in choices or [parameter.metavar or parameter.name.upper()])


def _choices(annotation: object) -> list[str]:
    if isinstance(annotation, EnumType):
        return [str(each.value) for each in annotation]  # type: ignore[var-annotated]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _meaning(parameter: Any, context: typer.Context) -> str:  # noqa: ANN401
    """Return the help of a parameter with its default and its limits, as `--help` has them."""
    record = parameter.get_help_record(context)
    return _cell(" ".join((record[1] if record else parameter.help).split()))


def query_reference() -> str:
    """Return every query with what it requires, its parameters and its columns."""
    own = [query for query in queries.catalogue() if not query.name.startswith(tuple(_OF_PROGRAM))]
    lines = ["", *(line for query in own for line in _query(query))]
    for folder, meaning in _OF_PROGRAM.items():
        rows = [(_source(q), _cell(q.purpose)) for q in queries.catalogue() if q.name.startswith(folder)]
        lines += [f"## {folder[:-1]}: {meaning}", "", *_table(("query", "purpose"), rows)]
    return "\n".join(lines) + "\n"


def _query(query: Query) -> Iterator[str]:
    yield from (f"## {query.name}", "", _cell(query.purpose), "")
    requires = ", ".join(f"`{table}`" for table in query.requires)
    yield from (f"Requires {requires}. Its SQL: {_source(query)}.", "")
    rows = [(f"`{p.name}`", p.type, _default(p.default), _cell(p.meaning)) for p in query.parameters]
    yield from _table(("parameter", "type", "default", "meaning"), rows)
    yield from _table(
        ("column", "type", "meaning"), [(f"`{c.name}`", _cell(c.type), _cell(c.meaning)) for c in query.columns]
    )
    remarks = _remarks(query)
    yield from ("```text", *remarks, "```", "") if remarks else ()


def _remarks(query: Query) -> list[str]:
    """Return what the file says between its header and its SELECT."""
    after = itertools.dropwhile(lambda line: line.startswith("--"), query.path.read_text().splitlines())
    until = itertools.takewhile(lambda line: not line or line.startswith("--"), after)
    return [line.removeprefix("--").removeprefix(" ") for line in until if line]


def _default(text: str | None) -> str:
    return "" if text is None else f"`{text}`"


def _source(query: Query) -> str:
    return f"[{query.name}.sql](../../queries/{query.name}.sql)"


def table_reference() -> str:
    """Return every table of SQL with its columns."""
    lines: list[str] = []
    events = schema.Table("one for each tracepoint", "One row for each event; then the event's own fields.", ())
    for table, columns in [*((t, t.columns) for t in schema.TABLES.values()), (events, schema.EVENT_COLUMNS)]:
        rows = [(c.name, str(c.type), "yes" if c.nullable else "no", _cell(c.meaning)) for c in columns]
        lines += [f"### {table.name}", "", table.meaning, "", *_table(("column", "type", "null", "meaning"), rows)]
    lines += ["## Tables of what manifests and labels say", ""]
    for name, types in manifest_tables.COLUMNS.items():
        lines += [f"### {name}", "", ", ".join(f"`{column}` {type_}" for column, type_ in types.items()), ""]
    return "\n" + "\n".join(lines)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table of Markdown and an empty line; nothing where it has no rows."""
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    return [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings), *lines, ""] if lines else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
