"""What Tab offers: tables, columns of the tables that a statement names, words of SQL, queries, parameters, runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion

from kvmtrace import queries, resources
from kvmtrace.errors import KvmtraceError
from kvmtrace.prompt import statements
from kvmtrace.prompt.backslash import HELP
from kvmtrace.report.printable import printable
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from kvmtrace.api.store import Store

KEYWORDS = tuple(
    """
    ALL AND ANY AS ASC AVG BETWEEN BY CASE CAST COALESCE COUNT CROSS DESC DESCRIBE DISTINCT ELSE END EXCEPT EXISTS
    EXPLAIN FALSE FILTER FIRST FROM FULL GROUP HAVING IN INNER INTERSECT IS JOIN LAST LEFT LIKE LIMIT MAX MIN NOT NULL
    NULLS OFFSET ON OR ORDER OUTER OVER PARTITION QUALIFY QUANTILE_CONT RIGHT ROUND SELECT SHOW SUM SUMMARIZE TABLES
    THEN TRUE UNION USING VALUES WHEN WHERE WINDOW WITH
    """.split()  # noqa: SIM905 - a word a line would be a page
)
"""Words of SQL that a statement which reads is made of."""

_WORD = re.compile(r"[\w$]*\Z")
_PLAIN = re.compile(r"[a-z_]\w*", re.IGNORECASE)
_WANTS_TABLE = re.compile(r"\b(?:from|join|describe|summarize|show)\s+(?:[\w\"]+\s*,\s*)*[\w\"]*\Z", re.IGNORECASE)


class StoreCompleter(Completer):
    """Completes what is typed at the prompt of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield what may stand at the cursor: names first, then words of SQL. What cannot be read offers nothing."""
        before = document.text_before_cursor
        try:
            if before.lstrip().startswith("\\"):
                yield from self._of_command(before.lstrip())
            elif not statements.is_quoted(before):
                word = (_WORD.search(before) or [""])[0]
                if word or complete_event.completion_requested:
                    yield from self._of_sql(document.text, before, word)
        except KvmtraceError:
            return

    def _of_sql(self, text: str, before: str, word: str) -> Iterator[Completion]:
        tables = {view.name: "table" for view in self._store.connection.views.all()}
        if _WANTS_TABLE.search(before):
            yield from _matching(word, tables, as_sql=True)
            return
        yield from _matching(word, self._columns(text), as_sql=True)
        yield from _matching(word, tables, as_sql=True)
        if word:
            yield from _matching(word, {name.lower() if word.islower() else name: "" for name in KEYWORDS})

    def _columns(self, text: str) -> dict[str, str]:
        views = self._store.connection.views
        found: dict[str, str] = {}
        for name in statements.names(text):
            try:
                view = views.find(name)
                found |= (
                    {} if view is None else {column: type_.lower() for column, type_ in views.columns(view).items()}
                )
            except KvmtraceError:  # of two systems, or with types that cannot be reconciled
                continue
        return found

    def _of_command(self, before: str) -> Iterator[Completion]:
        command, *words = before.split(" ")
        word = words[-1] if words else command
        if not words:
            yield from _matching(word, {name.split()[0]: what for name, what in reversed(HELP.items())})
        elif command == "\\d" and len(words) == 1:
            yield from _matching(word, {view.name: "" for view in self._store.connection.views.all()})
        elif command == "\\run" and len(words) == 1:
            yield from _matching(word, dict.fromkeys(_query_names(), "query"))
        elif command == "\\run":
            yield from self._of_parameter(words[0], word)

    def _of_parameter(self, query: str, word: str) -> Iterator[Completion]:
        parameters = {parameter.name: parameter for parameter in queries.load(query).parameters}
        name, equals, value = word.partition("=")
        if not equals:
            offered = {f"{each.name}=": each.meaning for each in parameters.values()}
            yield from _matching(word, offered)
        elif name in parameters and parameters[name].is_run:
            catalogue = self._store.connection.catalogue
            runs = {m.run_id: m.source.title for m in catalogue.manifests()}
            labels = {catalogue.label(run_id).label: run_id for run_id in runs}
            offered = {label: run_id for label, run_id in labels.items() if label and " " not in label}
            yield from _matching(value, offered | runs)


def _query_names() -> list[str]:
    folder = resources.folder("queries")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.sql"))


def _matching(word: str, offered: dict[str, str], *, as_sql: bool = False) -> Iterator[Completion]:
    """Yield the names that begin as `word` does, whatever the case; quoted where SQL wants that."""
    for name, what in offered.items():
        if name.lower().startswith(word.lower()) and name != word:
            text = quoted(name) if as_sql and not _PLAIN.fullmatch(name) else name
            yield Completion(text, -len(word), display=printable(name), display_meta=printable(what))
