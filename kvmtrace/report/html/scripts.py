"""The scripts of a page: libraries out of their Python packages, and ours; the policy that lets no other one run."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXPORTS = re.compile(r"export\{([^{}]*)\};?")


def own(path: Path) -> str:
    """Return one of our own scripts."""
    return _inline(path.read_text(encoding="utf-8"))


@functools.cache
def data_tables() -> str:
    """Return DataTables, as itables brings it, which leaves itself in `window.DataTable`.

    It is a module, and modules in a page cannot import each other: what it exports is handed over instead.
    RuntimeError: itables has changed its form.
    """
    source = _of_package("itables", "html/dt_bundle.js")
    exports = list(_EXPORTS.finditer(source))
    name = re.search(r"([\w$]+) as default\b", exports[-1][1]) if exports else None
    if name is None:
        raise RuntimeError("itables: expected dt_bundle.js to export DataTables as its default, found no such export")
    start, end = exports[-1].span()
    return _inline(f"(()=>{{'use strict';{source[:start]}window.DataTable={name[1]};{source[end:]}}})();")


@functools.cache
def vega() -> str:
    """Return Vega, Vega-Lite and vega-embed, which leave `window.vegaEmbed`. Takes two seconds the first time."""
    import vl_convert  # noqa: PLC0415 - slow to load; pages without charts need none

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return _inline(f"(()=>{{'use strict';{bundle}}})();")


def policy(scripts: Iterable[str]) -> str:
    """Return the Content-Security-Policy of a page: no network at all, and no script but these.

    Vega makes functions of its expressions only where it may; page.js has it interpret them, so `unsafe-eval` is not
    asked for. Styles are set by Vega and DataTables, images are those in the style sheet.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _of_package(package: str, path: str) -> str:
    """Return the text of a package's file; the package itself, which is slow to load, is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{package} is not installed: HTML reports need it")
    return (Path(spec.origin).parent / path).read_text(encoding="utf-8")


def _inline(source: str) -> str:
    """Return a script as it may stand between <script> and </script>: line ends as browsers read them."""
    lines = source.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    return lines.replace("<!--", r"<\!--").replace("</script", r"<\/script").replace("</SCRIPT", r"<\/SCRIPT")
