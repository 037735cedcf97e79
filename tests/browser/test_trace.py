"""The waterfall of a job, reached from where its answer is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.cards import choose, expect_answer, expect_problem, file_of
from tests.browser.conftest import PHONE, Visitor, serious_faults
from tests.support.system import System, eventually

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
STEPS = ["received", "decoded", "enqueued", "claimed", "predicted", "stored", "published", "woken", "answered"]


def follow(page: Page, system: System, link: str) -> None:
    """Click the link, once the trace behind it is written: that comes after the answer."""
    path = page.locator(link).first.get_attribute("href")
    assert path
    eventually(lambda: requests.get(system.url + path, timeout=5).status_code == 200, what=path)
    page.locator(link).first.click()
    expect(page.get_by_role("heading", name="Trace", exact=True)).to_be_visible()


def test_a_card_leads_to_the_waterfall_of_its_job(visit: Visit, system: System, tmp_path: Path) -> None:
    visitor = visit()
    page, file = visitor.open(), file_of(tmp_path, 70)
    choose(page, file)
    expect_answer(page, file)
    follow(page, system, ".card .trace")
    assert [name.lower() for name in page.locator(".steps h3").all_inner_texts()] == STEPS
    left = page.locator(".steps rect").evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().left)")
    assert left == sorted(left), "no step begins before the one above it"
    expect(page.locator(".steps li", has_text="claimed")).to_contain_text("worker")
    expect(page.locator(".steps li", has_text="woken")).to_contain_text("message")
    assert serious_faults(page) == []
    visitor.shoot("trace")


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, PHONE], ids=["dark", "phone"])
def test_the_dashboards_list_leads_there_too_in_the_dark_and_on_a_phone(
    options: dict[str, object], visit: Visit, system: System, tmp_path: Path
) -> None:
    visitor = visit(**options)
    system.predict(file_of(tmp_path, 71).read_bytes())
    page = visitor.open("/dashboard")
    expect(page.locator("#requests a").first).to_be_visible()
    follow(page, system, "#requests a")
    assert serious_faults(page) == []
    if options is PHONE:
        assert page.evaluate("document.documentElement.scrollWidth") == 375
    visitor.shoot(f"trace-{'phone' if options is PHONE else 'dark'}")


def test_where_a_key_is_asked_for_the_link_uses_the_one_that_was_typed_and_a_stranger_is_asked(
    visit: Visit, system: System, tmp_path: Path
) -> None:
    key = "sesame-open-now-please"
    system.web(API_KEYS=f"ann:{key}")
    url = system.urls[-1]
    visitor, stranger = visit(), visit()
    visitor.expected = stranger.expected = {401, 404}
    page, file = visitor.open(url=url), file_of(tmp_path, 72)
    choose(page, file)
    expect_problem(page, file.name, "The server asks for an API key.")
    page.get_by_label("This server asks for an API key.").fill(key)
    page.get_by_role("button", name="Use it").click()
    expect_answer(page, file)
    path = str(page.locator(".card .trace").get_attribute("href"))
    authorized = {"Authorization": f"Bearer {key}"}
    eventually(lambda: requests.get(url + path, headers=authorized, timeout=5).status_code == 200, what=path)
    page.locator(".card .trace").click()
    expect(page.locator(".steps li")).to_have_count(len(STEPS))
    expect(page.get_by_label("This server asks for an API key.")).to_be_hidden()
    assert serious_faults(page) == []
    visitor.shoot("trace-with-key")

    page = stranger.open(path, url)
    for typed in ("not the key", key):
        expect(page.locator(".steps")).to_have_count(0)
        page.get_by_label("This server asks for an API key.").fill(typed)
        page.get_by_role("button", name="Use it").click()
    expect(page.locator(".steps li")).to_have_count(len(STEPS))
    stranger.open(path.replace(path[6:12], "000000"), url)
    expect(page.locator("#problem")).to_contain_text("There is no trace of this job")
    assert serious_faults(page) == []
