"""The docs as a site: mkdocs builds it without a warning, and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_FETCHED = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "mkdocs.yml", "--site-dir"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Elements(HTMLParser):
    """What a page names: files that a browser loads by itself, places that links lead to, places that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.ids |= {values["id"]} if "id" in values else set()
        if "src" in values:
            self.loaded.append(values["src"])
        if "href" in values:
            (self.loaded if tag == "link" else self.links).append(values["href"])


def elements(page: Path) -> _Elements:
    found = _Elements()
    found.feed(page.read_text())
    return found


def test_no_page_or_style_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert pages
    for page in pages:
        assert [target for target in elements(page).loaded if "//" in target] == [], page
    for style in site.rglob("*.css"):
        assert not _FETCHED.search(style.read_text()), style


def test_every_link_inside_the_site_leads_to_a_file_and_a_place_in_it(site: Path) -> None:
    pages = {page.resolve(): elements(page) for page in site.rglob("*.html") if page.name != "404.html"}
    for page, found in pages.items():
        for link in found.links:
            path, _, anchor = link.partition("#")
            if "//" in link or link.startswith("mailto:"):
                continue
            target = (page.parent / path).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].ids, f"{page}: {link}"


def test_files_beside_the_docs_that_pages_link_to_are_in_the_site(site: Path) -> None:
    assert "pv-eoi" in (site / "source/generators/index.html").read_text()
    assert "interrupt_pending" in (site / "source/queries/whatif/interrupts.sql.html").read_text()


def test_the_notebook_is_a_page_of_its_cells_and_a_file_to_open(site: Path) -> None:
    text = (site / "source/docs/notebook.ipynb.html").read_text()
    assert '<h2 id="what-changed">' in text
    assert "cell_type" not in text
    assert "../../notebook.ipynb" in elements(site / "source/docs/notebook.ipynb.html").links
    assert (site / "notebook.ipynb").read_bytes() == (ROOT / "docs/notebook.ipynb").read_bytes()


def test_the_commands_can_be_searched_for(site: Path) -> None:
    assert "--minimum-effect" in (site / "search/search_index.json").read_text()
