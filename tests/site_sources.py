"""A hook of mkdocs: what pages link to beside docs/ becomes part of the site, below source/.

So a link that works in a checkout works in the site as well, with no server of the project's files. A page of Markdown
is a page there, a notebook one of its cells; any other text is a page with the text in it. Links to folders lead
nowhere in a site: their words stay.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!!)\[(?P<words>[^\]\[]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_IN_NAV = re.compile(r"'source/([^']+)'")
_DOCS, _SOURCE = "docs/", "source/"
_LANGUAGES = {".py": "python", ".sql": "sql", ".toml": "toml", ".yml": "yaml"}
_PAGES_OF_THEIR_OWN = {*_LANGUAGES, ".ipynb"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of `nav` that are beside docs/, and those that pages link to, and pages among these, and so on."""
    waiting = [_DOCS + file.src_uri for file in files.documentation_pages()]
    wanted = {_of_project(page) for page in _IN_NAV.findall(str(config.nav))}
    added: set[str] = set()
    while waiting or wanted:
        if wanted:
            place = wanted.pop()
            added.add(place)
            files.append(File.generated(config, _in_site(place), content=_content(place)))
        else:
            place = waiting.pop()
        if place.endswith(".md"):
            wanted |= _linked(place) - added
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let the links of a page lead to where the files are in the site."""
    uri = page.file.src_uri
    place = uri.removeprefix(_SOURCE) if uri.startswith(_SOURCE) else _DOCS + uri

    def replace(match: re.Match[str]) -> str:
        target = _target(place, match["target"])
        if target is None:
            return match[0]
        if (ROOT / target).is_dir():
            return match["words"]
        path = posixpath.relpath(_in_site(target), posixpath.dirname(uri) or ".")
        return f"[{match['words']}]({path}{match['anchor'] or ''})"

    return _LINK.sub(replace, markdown)


def _linked(place: str) -> set[str]:
    """Return the files beside the pages of docs/ that a page links to."""
    found = (_target(place, match["target"]) for match in _LINK.finditer((ROOT / place).read_text()))
    return {target for target in found if target and (ROOT / target).is_file() and _in_site(target)[:7] == _SOURCE}


def _target(place: str, link: str) -> str | None:
    """Return the file or folder of the project that a link in a page leads to, if it does."""
    if "://" in link or link.startswith("/"):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def _of_project(page: str) -> str:
    """Return the file of the project that a page below source/ shows."""
    return page if (ROOT / page).exists() else page.removesuffix(".md")


def _in_site(target: str) -> str:
    """Return where a file of the project is in the site."""
    if target.startswith(_DOCS) and Path(target).suffix not in _PAGES_OF_THEIR_OWN:
        return target.removeprefix(_DOCS)
    return f"{_SOURCE}{target}" if target.endswith(".md") else f"{_SOURCE}{target}.md"


def _content(target: str) -> str:
    text = (ROOT / target).read_text()
    if target.endswith(".md"):
        return text
    if target.endswith(".ipynb"):
        return _cells(target, text)
    language = _LANGUAGES.get(Path(target).suffix, "text")
    page = f"# {Path(target).name}\n\n`{target}`\n\n````{language}\n{text}\n````\n"
    return f"---\nsearch:\n  exclude: true\n---\n\n{page}"  # the pages that link to it say what is in it


def _cells(target: str, text: str) -> str:
    """Return the cells of a notebook below each other, and a link to the file below its heading."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    parts = [source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in cells]
    file = posixpath.relpath(target.removeprefix(_DOCS), posixpath.dirname(_SOURCE + target))
    heading, _, rest = "\n\n".join(parts).partition("\n")
    return f"{heading}\n\n[The file, to open in Jupyter]({file})\n{rest}\n"
