"""Rows of several widths → one flat array in which they stand behind each other in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rows = NDArray[Any]
    Places = NDArray[np.int64]


def interleaved(parts: Sequence[Rows], order: NDArray[np.intp]) -> tuple[NDArray[Any], Places]:
    """Return the words of all rows behind each other, and where each row ends, in words.

    `parts` are matrices of words of one type, a row each; `order` lists the rows of all, the first part's first.
    """
    widths = np.concatenate([np.full(len(part), part.shape[1], np.int64) for part in parts])
    ends = np.cumsum(widths[order])
    starts = np.empty_like(widths)
    starts[order] = ends - widths[order]
    laid_out = np.empty(ends[-1] if len(ends) else 0, parts[0].dtype)
    first = 0
    for part in parts:
        laid_out[starts[first : first + len(part), None] + np.arange(part.shape[1])] = part
        first += len(part)
    return laid_out, ends
