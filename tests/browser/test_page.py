"""The page at /, as a visitor uses it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Route, expect

from imagequeue.connections import connect
from imagequeue.jobqueue import JobQueue
from tests.browser.cards import card, choose, drop, expect_answer, expect_problem, file_of, paste, words
from tests.browser.conftest import PHONE, Visitor
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, System, eventually

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


def test_a_chosen_image_is_shown_at_once_then_named_with_five_bars_and_where_the_time_went(
    visit: Visit, tmp_path: Path
) -> None:
    visitor = visit()
    page, file = visitor.open(), file_of(tmp_path, 1)
    held: list[Route] = []
    page.route("**/predict", lambda route: held.append(route))
    choose(page, file)
    # The picture is the file itself, so it needs no answer.
    expect(card(page, file.name).locator("img")).to_have_js_property("naturalWidth", 40)
    expect(card(page, file.name)).to_have_attribute("aria-busy", "true")
    visitor.shoot("page-waiting")
    held[0].continue_()
    found = expect_answer(page, file)
    values = [float(value.get_attribute("title")) for value in found.locator(".labels .value").all()]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
    widths = [bar.evaluate("bar => getComputedStyle(bar, '::before').width") for bar in found.locator(".bar").all()]
    assert [float(width.removesuffix("px")) for width in widths] == sorted(
        (float(width.removesuffix("px")) for width in widths), reverse=True
    )
    assert found.locator(".legend dt").all_inner_texts() == ["waited", "computed", "decoded", "travelled"]
    for time in (*found.locator(".legend dd").all_inner_texts(), found.locator(".total").inner_text()):
        assert time.endswith((" ms", " s")), time
    expect(page.locator("#said")).to_contain_text(f"{file.name}: {words(null_label(file.read_bytes()))}")
    assert found.locator(".trace").get_attribute("href").startswith("/jobs/")
    visitor.shoot("page")


def test_the_curl_line_on_the_card_gives_the_same_answer(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    # What a shell and curl would each take apart.
    file = file_of(tmp_path, 2, 'it\'s "one"; a,b & c.png')
    page = visitor.open()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, file)
    found = expect_answer(page, file)
    found.locator("summary").click()
    found.get_by_role("button", name="Copy").click()
    expect(found.get_by_role("button", name="Copied")).to_be_visible()
    line = page.evaluate("navigator.clipboard.readText()")
    answer = json.loads(
        subprocess.run(["sh", "-c", f"{line} -s"], cwd=tmp_path, capture_output=True, check=True).stdout
    )
    assert answer["predictions"][0]["label"] == null_label(file.read_bytes())


def test_several_dropped_images_are_each_answered_and_stand_in_order(visit: Visit, tmp_path: Path) -> None:
    page = visit().open()
    files = [file_of(tmp_path, number) for number in range(10, 17)]
    drop(page, *files)
    for file in files:
        expect_answer(page, file)
    assert page.locator(".file").all_inner_texts() == [file.name for file in files]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".card")).to_have_count(0)


def test_a_pasted_image_is_answered(visit: Visit) -> None:
    page, image = visit().open(), picture(20)
    paste(page, image)
    # A browser encodes what lies on the clipboard anew, with the same pixels.
    expect(page.locator(".best")).to_have_text(words(null_label(image)))


def test_a_sample_is_answered_with_a_click_and_its_curl_line_names_it_from_the_projects_root(visit: Visit) -> None:
    page = visit().open()
    page.get_by_role("button", name="umbrella").click()
    found = expect_answer(page, ROOT / "samples" / "umbrella.png")
    assert "image=@samples/umbrella.png" in found.locator("code").text_content()


def test_a_phone_offers_its_camera(visit: Visit, tmp_path: Path) -> None:
    page, file = visit(**PHONE).open(), file_of(tmp_path, 21)
    assert page.locator("#photograph").get_attribute("capture") == "environment"
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Take a photograph").tap()
    chooser.value.set_files(file)
    expect_answer(page, file)


def test_what_is_no_image_or_too_large_is_said_beside_the_good_ones(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    visitor.expected = {413, 422}
    page, good = visitor.open(), file_of(tmp_path, 22)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "photo.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (tmp_path / "heavy.png").write_bytes(bytes(10 * 2**20 + 1))
    file_of(tmp_path, 23, "wide.png", (1200, 1000))
    (tmp_path / "folder").mkdir()
    drop(page, good, *(tmp_path / name for name in ("notes.txt", "photo.jxl", "heavy.png", "wide.png", "folder")))
    expect_problem(page, "notes.txt", "This is not an image, or it is damaged.")
    expect_problem(page, "photo.jxl", "JPEG XL is not read by this server; send JPEG, PNG, WebP")
    expect_problem(page, "heavy.png", "Too large: files of up to 10 MiB are taken, and this one has a little more.")
    expect_problem(page, "wide.png", "1200 x 1000 pixels")
    expect_problem(page, "folder", "The file is empty, or cannot be read. If it is a folder, choose the images in it.")
    expect_answer(page, good)
    # Another try of these would end the same.
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    visitor.shoot("page-errors")


def test_a_full_queue_says_when_to_try_again_and_then_answers(visit: Visit, system: System, tmp_path: Path) -> None:
    visitor = visit()
    visitor.expected = {503}
    full = system.web(MAX_QUEUE_LENGTH=1)
    page = visitor.open(url=system.urls[-1])
    files = [file_of(tmp_path, number) for number in range(30, 34)]
    (worker,) = system.workers
    worker.signal(signal.SIGSTOP)
    try:
        # One may lie with the worker that stands still, one waits, and there is no room for the rest.
        choose(page, *files)
        refused = page.locator(".failed")
        expect(refused.first.locator(".problem")).to_contain_text("The queue is full")
        button = refused.first.locator(".retry")
        expect(button).to_be_disabled()
        expect(button).to_contain_text("Try again in")
        expect(page.locator("#said")).to_contain_text("Try again in")
        # The accepted ones still wait, whichever they were.
        expect(page.locator('[aria-busy="true"] .pending').first).to_be_visible()
        visitor.shoot("page-queue-full")
    finally:
        worker.signal(signal.SIGCONT)
    expect(page.locator('[aria-busy="true"]')).to_have_count(0)
    for retry in page.locator(".retry:visible").all():
        expect(retry).to_be_enabled()
    while page.locator(".failed").count():
        page.locator(".failed .retry:enabled").first.click()
        expect(page.locator('[aria-busy="true"]')).to_have_count(0)
    for file in files:
        expect_answer(page, file)
    full.stop()


def test_a_server_that_is_away_is_said_to_be_away_and_tried_again(visit: Visit, system: System, tmp_path: Path) -> None:
    visitor = visit()
    visitor.expected = {"ERR_CONNECTION_REFUSED", "ERR_INTERNET_DISCONNECTED"}
    page, file = visitor.open(), file_of(tmp_path, 40)
    visitor.context.set_offline(True)
    choose(page, file)
    found = expect_problem(page, file.name, "The server does not answer.")
    visitor.context.set_offline(False)
    found.get_by_role("button", name="Try again").click()
    expect_answer(page, file)


def test_random_weights_are_announced_before_the_first_image(visit: Visit, system: System) -> None:
    with connect(str(system.settings["REDIS_URL"]), name="test") as client:
        queue = JobQueue(client)
        queue.join("a:1:random", 5.0, {"host": "a", "pid": 1, "model": "resnet50", "weights": "random"})
        page = visit().open()
        expect(page.get_by_role("alert")).to_contain_text("The labels mean nothing.")
        queue.release("a:1:random")
    # Where a look is half a second old, a new one is taken.
    page.wait_for_timeout(600)
    page.reload()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_where_a_key_is_asked_for_it_is_typed_once(visit: Visit, system: System, tmp_path: Path) -> None:
    visitor = visit()
    visitor.expected = {401}
    locked = system.web(API_KEYS="ann:sesame-open-now-please")
    page, file = visitor.open(url=system.urls[-1]), file_of(tmp_path, 41)
    choose(page, file)
    expect_problem(page, file.name, "The server asks for an API key.")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('sesame-open-now-please')")
    page.get_by_label("This server asks for an API key.").press("Control+V")
    expect(page.locator("#notice")).to_be_hidden()
    page.get_by_role("button", name="Use it").click()
    expect_answer(page, file)
    visitor.open("/dashboard")
    expect(page.locator("#state")).to_contain_text("Live")
    # It would go on looking.
    page.close()
    locked.stop()


def test_fetch_with_form_data_is_all_that_a_script_needs(visit: Visit) -> None:
    page = visit().open()
    answer = page.evaluate(
        """async () => {
          const form = new FormData();
          form.append("image", await (await fetch("/samples/maze.png")).blob(), "maze.png");
          const response = await fetch("/predict", { method: "POST", body: form });
          return { status: response.status, body: await response.json() };
        }"""
    )
    assert answer["status"] == 200
    assert answer["body"]["success"] is True
    assert answer["body"]["predictions"][0]["label"] == null_label((ROOT / "samples" / "maze.png").read_bytes())


def test_below_a_prefix_everything_that_a_visitor_does_works(
    visit: Visit, make_redis: Callable[..., RedisServer], make_system: Callable[..., System], tmp_path: Path
) -> None:
    below = make_system(make_redis(), ROOT_PATH="/images").start()
    visitor, file = visit(), file_of(tmp_path, 1)
    page = visitor.open("/images/", url=below.url)
    choose(page, file)
    found = expect_answer(page, file)
    assert f"{below.url}/images/predict" in found.locator("code").text_content()
    page.locator(".sample").first.click()
    expect(page.locator("#cards > li")).to_have_count(2)
    link = found.locator(".trace").get_attribute("href")
    assert link.startswith("/images/jobs/")
    eventually(
        lambda: requests.get(below.url + link, timeout=20).ok, what="the trace is written behind the answer's back"
    )
    page.goto(below.url + link)
    expect(page.locator("h1")).to_have_text("Trace")
    page.get_by_role("link", name="Dashboard").click()
    expect(page.locator("#state")).to_contain_text("Live")
    expect(page.locator("#requests a").first).to_have_attribute("href", re.compile("^/images/jobs/"))
    page.get_by_role("link", name="API").click()
    expect(page.locator(".servers select")).to_have_value("/images")
