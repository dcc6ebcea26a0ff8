"""Finds the data folders that are in the wheel as kvmtrace/NAME and in a checkout beside kvmtrace/."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the folder `name` (queries, generators)."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
