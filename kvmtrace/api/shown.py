"""What results have in common: they show themselves as text, as Markdown and in notebooks, and give their figures."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from kvmtrace.report.blocks import Block


class Shown(ABC):
    """A result of the library.

    A Python prompt shows it as text, Jupyter and marimo as HTML. Names that come of recordings are escaped in both.
    """

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """Return what it says, in words, before any layout."""

    @abstractmethod
    def figures(self) -> pl.DataFrame:
        """Return its figures, exactly, a row each; null: not recorded. Units end the names."""

    @abstractmethod
    def to_json(self) -> str:
        """Return all of it as JSON, as the command with --format json writes it."""

    def to_dict(self) -> Any:  # noqa: ANN401 - any object of JSON
        """Return all of it as plain dicts and lists: what `to_json` writes."""
        return json.loads(self.to_json())

    def to_text(self, width: int | None = None) -> str:
        """Return it as text; `width`: columns of a terminal, None: as wide as it gets."""
        from kvmtrace.report import text

        return text.lay_out(self.blocks(), terminal_width=width)

    def to_markdown(self) -> str:
        """Return it as GitHub-flavoured Markdown."""
        from kvmtrace.report import markdown

        return markdown.lay_out(self.blocks())

    def to_html(self) -> str:
        """Return it as a part of an HTML page, without scripts."""
        from kvmtrace.api.fragment import lay_out

        return lay_out(self.blocks())

    def __repr__(self) -> str:
        return self.to_text().rstrip("\n")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _mime_(self) -> tuple[str, str]:
        """Return what marimo shows."""
        return "text/html", self.to_html()
