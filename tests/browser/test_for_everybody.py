"""Both pages on a phone, in the dark, by keyboard, for who cannot see them, on a slow line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.cards import choose, expect_answer, file_of
from tests.browser.conftest import PHONE, Visitor, serious_faults
from tests.support.system import ROOT, System

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
PAGES = ("/", "/dashboard")
FIRST_LOAD_BYTES = 60_000


def fill(page: Page, path: str, tmp_path: Path) -> None:
    """Bring a page into the state that has the most on it."""
    if path == "/":
        (tmp_path / "notes.txt").write_text("no image")
        choose(page, file_of(tmp_path, 60), tmp_path / "notes.txt")
        expect(page.locator('.card[aria-busy="false"]')).to_have_count(2)
        page.locator("summary:visible").first.click()
        # The bars have grown.
        page.wait_for_timeout(600)
    else:
        expect(page.locator("#state")).to_contain_text("Live")
        expect(page.locator("#requests a").first).to_be_visible()


@pytest.fixture(autouse=True)
def an_answer(system: System) -> None:
    system.predict((ROOT / "samples" / "clock.png").read_bytes())


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(path: str, scheme: str, visit: Visit, tmp_path: Path) -> None:
    visitor = visit(color_scheme=scheme, reduced_motion="reduce")
    visitor.expected = {422}
    page = visitor.open(path)
    fill(page, path, tmp_path)
    assert serious_faults(page) == []
    visitor.shoot(f"{path.strip('/') or 'page'}-{scheme}")


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_needs_no_sideways_scrolling(path: str, visit: Visit, tmp_path: Path) -> None:
    visitor = visit(**PHONE)
    visitor.expected = {422}
    page = visitor.open(path)
    fill(page, path, tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    # What sticks out would be cut off.
    assert page.evaluate(
        "[...document.querySelectorAll('main *')].every((e) => e.getBoundingClientRect().right <= 376)"
    )
    assert serious_faults(page) == []
    visitor.shoot(f"{path.strip('/') or 'page'}-phone")


def test_dark_is_dark_and_light_is_light(visit: Visit) -> None:
    for scheme, is_light in (("light", True), ("dark", False)):
        page = visit(color_scheme=scheme).open()
        paper, ink = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )

        def brightness(color: str) -> float:
            return sum(float(part) for part in color.strip("rgb()").split(",")) / 3

        assert (brightness(paper) > 200) is is_light
        assert (brightness(ink) < 100) is is_light


def test_all_of_the_page_can_be_done_by_keyboard_and_the_focus_is_seen(visit: Visit) -> None:
    page = visit().open()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
              const e = document.activeElement;
              const shown = e.matches("input[type=file]") ? e.nextElementSibling : e;
              const name = e.id || e.dataset.name || e.textContent.trim();
              return [name, getComputedStyle(shown).outlineStyle];
            }"""
        )
        assert outline == "solid", name
        reached.append(name)
        if name == "umbrella.png":
            break
    assert reached[0] == "Skip to the content"
    assert {"ImageQueue", "Dashboard", "choose", "clock.png", "umbrella.png"} <= set(reached)
    page.keyboard.press("Enter")
    found = expect_answer(page, ROOT / "samples" / "umbrella.png")
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    expect(found.get_by_role("button", name="Copy")).to_be_visible()


def test_with_less_motion_nothing_moves(visit: Visit) -> None:
    page = visit(reduced_motion="reduce").open()
    page.get_by_role("button", name="maze").click()
    expect_answer(page, ROOT / "samples" / "maze.png")
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("path", PAGES)
def test_the_first_load_is_small(path: str, visit: Visit) -> None:
    visitor = visit()
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    loaded: list[float] = []
    session.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page = visitor.open(path)
    page.wait_for_load_state("networkidle") if path == "/" else expect(page.locator("#state")).to_contain_text("Live")
    assert len(loaded) >= 6, "the page, its sheets and its scripts"
    assert sum(loaded) < FIRST_LOAD_BYTES
