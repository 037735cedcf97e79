"""Make the two pictures of the README from a running server, with a model whose labels mean something:

    python -m scripts.screenshots http://127.0.0.1:5000

Needs the packages of requirements-dev.txt and a chromium on the PATH. Sends a few hundred images, so that the
dashboard has something to show.
"""

from __future__ import annotations

import argparse
import io
import shutil
import threading
from itertools import cycle
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from imagequeue.client import Client
from imagequeue.errors import ImageQueueError

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "samples").glob("*.png"))
PICTURES = ROOT / "docs" / "img"


def keep_busy(url: str, is_over: threading.Event, pause: float) -> None:
    """Send the samples, one after the other, `pause` seconds apart, until it is over."""
    with Client(url) as client:
        for sample in cycle(SAMPLES):
            if is_over.wait(pause):
                return
            try:
                client.predict(sample)
            except ImageQueueError:
                # A refusal is a thing to show, too.
                continue


def show_page(page: Page, url: str) -> None:
    page.goto(url)
    for name in ("traffic_light", "clock"):
        page.get_by_role("button", name=name.replace("_", " ")).click()
        expect(page.locator(".card").first).to_have_attribute("aria-busy", "false")
    page.mouse.move(0, 0)


def show_dashboard(page: Page, url: str, seconds: float) -> None:
    """With `seconds` of load on its lines, which comes and goes."""
    page.goto(f"{url}/dashboard")
    for pause in (0.1, 0.3, 0.05):
        is_over = threading.Event()
        clients = [threading.Thread(target=keep_busy, args=(url, is_over, pause)) for _ in range(6)]
        for client in clients:
            client.start()
        page.wait_for_timeout(seconds / 3 * 1000)
        is_over.set()
        for client in clients:
            client.join()


def save(page: Page, name: str) -> None:
    """What is seen of the page, as small as a PNG without loss can be."""
    PICTURES.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").save(PICTURES / f"{name}.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:5000")
    parser.add_argument("--seconds", type=float, default=60, help="of load before the dashboard's picture")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 960, "height": 1190}, reduced_motion="reduce")
        show_page(page, arguments.url)
        save(page, "page")
        page = browser.new_page(viewport={"width": 1160, "height": 1150}, color_scheme="dark", reduced_motion="reduce")
        show_dashboard(page, arguments.url, arguments.seconds)
        save(page, "dashboard")
        browser.close()


if __name__ == "__main__":
    main()
