"""The dashboard, while something goes on."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visitor
from tests.support.load import send_all
from tests.support.pictures import picture
from tests.support.system import System, eventually

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
PNG = {"Content-Type": "image/png"}


# Three points or more of a line: the first look after a reload would draw one.
A_LINE = re.compile(r"M[\d. ]+L[\d. ]+L[\d. ]+")


def throughput(page: Page) -> float:
    """What is shown, images a second; 0 for none yet."""
    found = re.match(r"[\d,.]+", page.locator("#throughput-now").inner_text())
    return float(found[0].replace(",", "")) if found else 0.0


def test_it_moves_under_load(visit: Visit, system: System) -> None:
    visitor = visit(viewport={"width": 1280, "height": 900})
    page = visitor.open("/dashboard")
    expect(page.locator("#state")).to_have_text("Live, 1 worker")
    page.wait_for_timeout(1100)
    before = page.locator("#throughput .line").get_attribute("d")

    send_all([system.url], [picture(number) for number in range(300)], connections=8)
    eventually(lambda: throughput(page) > 0, what="a throughput")
    expect(page.locator("#throughput .line")).not_to_have_attribute("d", before or "")
    expect(page.locator("#latency-more")).to_contain_text("p99")
    expect(page.locator("#batches .now")).to_have_text(re.compile(r"\d"))
    assert page.locator("#batches .some").count() >= 1

    worker = page.locator(".worker")
    expect(worker).to_have_count(1)
    expect(worker).to_contain_text("null")
    expect(worker).to_contain_text("s left")
    expect(worker).to_contain_text("of 32")
    expect(page.locator("#requests tr")).to_have_count(15)
    traces = page.locator("#requests a").evaluate_all("links => links.map((link) => link.pathname)")
    assert len(set(traces)) == 15
    assert all(trace.startswith("/jobs/") and trace.endswith("/trace") for trace in traces)
    # What was seen is not lost with the page.
    page.reload()
    expect(page.locator("#throughput .line")).to_have_attribute("d", A_LINE)
    visitor.shoot("dashboard")


def test_the_list_stands_still_while_somebody_points_at_it(visit: Visit, system: System) -> None:
    page = visit().open("/dashboard")
    system.predict(picture(50))
    first = page.locator("#requests tr").first
    expect(first.locator("a")).to_be_visible()
    first.hover()
    held = first.inner_text()
    for image in range(51, 54):
        system.predict(picture(image))
    page.wait_for_timeout(1500)
    assert first.inner_text() == held
    page.mouse.move(5, 5)
    expect(first).not_to_have_text(held)


def test_pause_stops_the_looking(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/dashboard")
    expect(page.locator("#state")).to_contain_text("Live")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    looks: list[str] = []
    page.on("request", lambda request: looks.append(request.url))
    page.wait_for_timeout(1500)
    assert not looks
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#state")).to_contain_text("Live")


def test_a_look_that_was_on_its_way_when_somebody_paused_changes_nothing(visit: Visit) -> None:
    page = visit().open("/dashboard")
    expect(page.locator("#state")).to_contain_text("Live")
    on_their_way: list[Route] = []
    page.route("**/stats", lambda route: on_their_way.append(route))
    with page.expect_request("**/stats"):
        pass
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    with page.expect_response("**/stats") as answer:
        on_their_way[0].continue_()
    answer.value.finished()
    # Whatever the page does with the answer it has done two frames later.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(page.locator("#state")).to_have_text("Paused")
    page.unroute("**/stats")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#state")).to_contain_text("Live")


def test_it_says_when_the_server_is_away_and_when_it_is_back(visit: Visit) -> None:
    visitor = visit()
    visitor.expected = {"ERR_INTERNET_DISCONNECTED"}
    page = visitor.open("/dashboard")
    expect(page.locator("#state")).to_contain_text("Live")
    visitor.context.set_offline(True)
    expect(page.locator("#state")).to_have_text("The server does not answer.")
    visitor.shoot("dashboard-away")
    visitor.context.set_offline(False)
    expect(page.locator("#state")).to_contain_text("Live")


def test_a_worker_that_stands_still_is_seen_to_lose_its_lease(visit: Visit, system: System) -> None:
    page = visit().open("/dashboard")
    stopped = system.worker(LEASE_SECONDS=1)
    expect(page.locator("#state")).to_have_text("Live, 2 workers")
    stopped.signal(signal.SIGSTOP)
    expect(page.locator("#state")).to_have_text("Live, 1 worker")
    stopped.signal(signal.SIGCONT)
    stopped.stop()
    system.workers.remove(stopped)


def test_an_ordinary_key_sees_its_own_answers_and_an_admin_everybodys_and_where_workers_run(
    visit: Visit, system: System
) -> None:
    keys = {"ann": "sesame-of-ann", "root": "sesame-of-root"}
    guarded = system.web(API_KEYS=",".join(f"{name}:{key}" for name, key in keys.items()), API_ADMINS="root")
    url = system.urls[-1]
    for key in keys.values():
        sent = requests.post(f"{url}/predict", data=picture(80), headers={"X-API-Key": key} | PNG, timeout=60)
        assert sent.status_code == 200
    for name, rows in (("ann", 1), ("root", 2)):
        visitor = visit()
        visitor.expected = {401}
        page = visitor.open("/dashboard", url)
        page.get_by_label("This server asks for an API key.").fill(keys[name])
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#state")).to_have_text("Live, 1 worker")
        expect(page.locator("#requests a")).to_have_count(rows)
        expect(page.locator(".worker-head")).to_contain_text("pid" if name == "root" else "Worker")
        # It would go on looking.
        page.close()
    guarded.stop()
