"""What our figures have in common: formats, the grid, the axis of latencies; how an image is written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.report.readable import duration

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = {".png": "png", ".svg": "svg"}

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a `$` in a name of a recording begins no formula
    "svg.hashsalt": "kvmtrace",  # the same figure is the same file
}


def file_format(path: Path) -> str:
    """Return the format that the suffix of `path` means. UsageError: no format of ours."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"{path}: expected a file name that ends in {' or '.join(FORMATS)}") from None


def image_of(figure: Figure, image_format: str) -> bytes:
    """Return the image; the same figure is the same bytes."""
    image = io.BytesIO()
    metadata = {"Date": None} if image_format == "svg" else None
    figure.savefig(image, format=image_format, dpi=150, metadata=metadata)
    return image.getvalue()


def write_image(image: bytes, path: Path, *, force: bool) -> None:
    """Write an image to the file `path`. StoreError: it cannot be written, or is there and not to be overwritten."""
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(image)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


def latency_axis(axes: Axes, lowest_ns: float, highest_ns: float) -> None:
    """Scale the x axis in ns, and label it in the unit that suits each tick."""
    axes.set_xscale("log")
    middle, reach = (lowest_ns * highest_ns) ** 0.5, max((highest_ns / lowest_ns) ** 0.5 * 1.15, 10**0.5)
    axes.set_xlim(middle / reach, middle * reach)
    axes.set_xlabel("time out of the guest (log scale)")
    readable = FuncFormatter(lambda ns, _: duration(ns))
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    axes.xaxis.set_major_formatter(readable)
    axes.xaxis.set_minor_locator(LogLocator(base=10, subs=(2, 5), numticks=12))
    axes.tick_params(axis="x", which="minor", pad=mpl.rcParams["xtick.major.pad"] + 1.5)  # level with the major labels
    axes.xaxis.set_minor_formatter(readable if reach < 10 else NullFormatter())  # noqa: PLR2004 - two decades
