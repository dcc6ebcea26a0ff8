"""Opens HTML reports in Chromium, and tells what a page did there that no report may do."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, Locator, Page, Route

SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
WIDE, NARROW = 1400, 400
_LONGEST_START_S = 120.0  # on a machine that does much else
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="session")
def chromium_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where a Chromium listens that runs as long as the tests do: it takes seconds to start."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    profile = tmp_path_factory.mktemp("chromium")
    switches = (*SWITCHES, "--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}")
    with (profile / "output").open("wb") as output:
        process = subprocess.Popen([program, *switches], stdout=output, stderr=output)
    try:
        yield f"http://127.0.0.1:{_port(profile / 'DevToolsActivePort', process)}"
    finally:
        process.terminate()
        process.wait()


def _port(told_in: Path, process: subprocess.Popen[bytes]) -> int:
    """Return the port that Chromium chose, once it has written which."""
    until = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < until and process.poll() is None:
        if told_in.exists() and (lines := told_in.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.02)
    raise RuntimeError(f"Chromium did not start: {told_in.with_name('output').read_text()}")


@pytest.fixture(scope="module")
def chromium(chromium_address: str) -> Iterator[Browser]:
    """Return a browser for the tests of a module.

    Not of the session: Playwright's loop runs as long as it is open, and other tests have loops of their own.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - for those who have a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(chromium_address)
        yield browser
        browser.close()


@dataclass(slots=True)
class Opened:
    """A page that is open, and what it complained of or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def table(self, title: str) -> Locator:
        """Return the first table of that title."""
        caption = self.page.locator("caption", has_text=title)
        return self.page.locator("table", has=caption).first

    def chart(self, title: str) -> Locator:
        """Return the figure of that title."""
        heading = self.page.locator("figcaption strong", has_text=title)
        return self.page.locator("figure.chart", has=heading).first

    def column(self, table: Locator, number: int) -> list[str]:
        """Return the texts of a column, without heading and totals."""
        cells = table.locator(f"tbody tr > :nth-child({number + 1})")
        return [text.strip() for text in cells.all_text_contents()]

    def axe(self) -> list[str]:
        """Return what axe-core finds wrong, a line each."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - for those who have a browser

        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = WIDE, scheme: Scheme = "light", scripts: bool = True
) -> Iterator[Opened]:
    """Open a file; afterwards it must have complained of nothing, and asked for nothing but itself."""
    own = path.resolve().as_uri()
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    try:
        page = context.new_page()
        this = Opened(page)

        def only_itself(route: Route) -> None:
            if route.request.url.partition("#")[0] == own:
                route.continue_()
            else:
                this.requests.append(route.request.url)
                route.abort()

        def dismissed(dialog: Dialog) -> None:
            this.complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        context.route("**/*", only_itself)
        page.on("console", lambda said: this.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: this.complaints.append(str(error)))
        page.on("dialog", dismissed)
        page.goto(own)
        if scripts:
            page.wait_for_selector("html[data-ready]", state="attached")
        yield this
        assert this.complaints == []
        assert this.requests == []
    finally:
        context.close()
