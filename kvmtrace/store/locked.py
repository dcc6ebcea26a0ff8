"""A DuckDB that its settings lock into a folder: they stand behind the guard, which looks through each statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from kvmtrace.store.views import literal, without_wildcards

if TYPE_CHECKING:
    from pathlib import Path


def locked_connection(store: Path, spill: str) -> duckdb.DuckDBPyConnection:
    """Return a connection that can open files of the store only; `spill` holds what does not fit in memory."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,  # `FROM name` is a table of the store, not a variable of ours
            "temp_directory": spill,
            # Rows behind many filters are guessed to be few, and an ASOF join of few takes each with each: hours.
            "asof_loop_join_threshold": 0,
        }
    )
    # The order matters: what is allowed must be said before the rest is forbidden.
    folders = ", ".join(literal(folder) for folder in (str(store), without_wildcards(store)))
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
