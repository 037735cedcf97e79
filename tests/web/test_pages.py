"""The pages, as they leave the server; what they do in a browser is in tests/browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from imagequeue import errors
from imagequeue.web import pages
from tests.support.inprocess import Service
from tests.support.system import ROOT

MakeService = Callable[..., Service]
PAGES = ("/", "/dashboard")
STATIC = ROOT / "imagequeue" / "web" / "static"


@pytest.mark.parametrize("path", PAGES)
def test_every_file_that_a_page_names_is_served_from_here(path: str, make_service: MakeService) -> None:
    client = make_service(with_worker=False).client
    html = client.get(path).text
    named = re.findall(r'(?:src|href)="([^"#]*)"', html)
    assert {name for name in named if name.endswith(".js")}
    for name in named:
        assert name.startswith("/"), f"{name} is at another host"
        assert client.get(name).status_code == 200, name


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_no_script_and_no_style_of_its_own(path: str, make_service: MakeService) -> None:
    html = make_service(with_worker=False).client.get(path).text
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)


@pytest.mark.parametrize("asked", ["bytes=1-", "bytes=0-0,5-9", "bytes=9999999-"])
def test_a_file_is_served_whole_whatever_range_is_asked_for(asked: str, service: Service) -> None:
    whole = service.client.get("/static/page.js")
    part = service.client.get("/static/page.js", headers={"Range": asked})
    assert (part.status_code, part.data) == (200, whole.data)
    assert part.headers["Accept-Ranges"] == whole.headers["Accept-Ranges"] == "none"


@pytest.mark.parametrize("path", [*PAGES, "/static/style.css", "/static/page.js"])
def test_what_has_not_changed_is_not_sent_again(path: str, make_service: MakeService) -> None:
    client = make_service(with_worker=False).client
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    second = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.data) == (304, b"")


def test_the_page_names_the_limit_that_holds(make_service: MakeService) -> None:
    html = make_service(with_worker=False, max_upload_bytes=3 * 2**20).client.get("/").text
    assert "up to 3 MiB" in html
    assert f'data-max-bytes="{3 * 2**20}"' in html


def test_every_module_that_a_script_imports_is_loaded_ahead(make_service: MakeService) -> None:
    client = make_service(with_worker=False).client
    for path in PAGES:
        html = client.get(path).text
        (script,) = re.findall(r'<script type="module" src="/static/([\w.]+)"', html)
        ahead = set(re.findall(r'<link rel="modulepreload" href="/static/([\w.]+)"', html))
        needed, new = set(), {script}
        while new:
            needed |= new
            new = {
                name for file in new for name in re.findall(r'from "\./([\w.]+)"', (STATIC / file).read_text())
            } - needed
        assert ahead == needed - {script}


def test_every_code_of_an_error_has_its_sentence_or_its_status() -> None:
    """A new kind of error is not to reach people as `something_broke`."""

    def below(kind: type[errors.ImageQueueError]) -> set[type[errors.ImageQueueError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    text = (STATIC / "errors.js").read_text()
    # What these say is a sentence of the server's, made for the case.
    said_by_the_server = {"bad_request", "not_found", "too_large", "internal", "configuration", "unavailable"}
    # No client sees these: they are a worker's own.
    said_by_the_server |= {"fenced", "model_wrong"}
    # The client has errors of its own, which no page sees.
    kinds = {kind for kind in below(errors.ImageQueueError) if kind.__module__ == errors.__name__}
    for code in {kind.code for kind in kinds} - said_by_the_server:
        assert f"  {code}:" in text, code


def test_the_blueprint_serves_pages_only(make_service: MakeService) -> None:
    app = make_service(with_worker=False).app
    rules = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(f"{pages.blueprint.name}.")}
    assert rules == set(PAGES)
