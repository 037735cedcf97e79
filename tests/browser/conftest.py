"""A real Chromium over the real servers. In CI a missing one is an error; elsewhere these tests are skipped."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests.conftest import KINDS, redis_binary
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, System

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Nothing of the browser's own goes out, and no sandbox, which containers seldom allow.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", ROOT / "tests" / "browser" / "screenshots"))
PHONE: dict[str, Any] = {"viewport": {"width": 375, "height": 740}, "is_mobile": True, "has_touch": True}

# Keeps all that the page says aloud; each word of it stands there only until the next.
HEAR = """
addEventListener("DOMContentLoaded", () => {
  window.heard = [];
  const said = document.getElementById("said");
  if (said) new MutationObserver(() => heard.push(said.textContent)).observe(said, { childList: true });
});
"""


def serious_faults(page: Page) -> list[str]:
    """What axe finds that keeps somebody out."""
    return [
        f"{fault['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


# For this package alone: while Playwright runs, the main thread has an event loop, which asyncio.run elsewhere refuses.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        reason = "no chromium on the PATH (Debian, Ubuntu: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason + "; CI must have one")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def system(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A web server and a worker with the null model, for all these tests together: each sends images of its own."""
    redis_server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    system = System(
        redis_server.url, tmp_path_factory.mktemp("browser"), MAX_IMAGE_PIXELS=10**6, MAX_BATCH_SIZE=32
    ).start()
    yield system
    system.stop()
    redis_server.remove()


class Visitor:
    """One person's window on the pages, that notes what must not happen."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        context.add_init_script(HEAR)
        self.page: Page = context.new_page()
        # Statuses that the test provokes: Chromium writes each answer of 4xx and 5xx to the console.
        self.expected: set[int | str] = set()
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("request", self._note_request)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._note_console)

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data"):
            self.hosts.add(f"{parts.scheme}://{parts.netloc}")

    def _note_console(self, message: Any) -> None:
        status = re.search(r"status of (\d+)|(ERR_\w+)", message.text)
        if status and (int(status[1]) if status[1] else status[2]) in self.expected:
            return
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def open(self, path: str = "/", url: str = "") -> Page:
        self.url = url or self.url
        self.page.goto(self.url + path)
        return self.page

    def shoot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def leave(self) -> None:
        self.context.close()
        assert not self.faults, self.faults
        assert self.hosts <= {self.url}, "a request to another host"


@pytest.fixture
def visit(browser: Browser, system: System) -> Iterator[Callable[..., Visitor]]:
    """`visit(color_scheme="dark", …)`: a window of its own; at the end no error, and no request elsewhere."""
    visitors: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        context = browser.new_context(**({"viewport": {"width": 1100, "height": 800}} | options))
        context.set_default_timeout(15_000)
        visitors.append(Visitor(context, system.url))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.leave()
