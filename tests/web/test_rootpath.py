"""Below a prefix everything works as without one, and nothing is served at any other path but the probes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from imagequeue.errors import QueueFull
from imagequeue.web.hosts import PROBES
from imagequeue.web.rootpath import RootPath
from tests.conftest import KINDS, redis_binary
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer

MakeService = Callable[..., Service]


@pytest.fixture(scope="module")
def below() -> Iterator[Service]:
    """A service below /images, with a worker."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    service = Service(server.url, root_path="/images")
    yield service
    service.stop()
    server.remove()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/images", "/"),
        ("/images/", "/"),
        ("/images/stats", "/stats"),
        ("/images/images/stats", "/images/stats"),
        ("/stats", None),
        ("/imagesque/stats", None),
        ("//images/stats", None),
        ("/", None),
        ("/livez", "/livez"),
        ("/images/livez", "/livez"),
    ],
)
def test_the_prefix_is_cut_off_once(path: str, found: str | None) -> None:
    assert RootPath("/images").below(path) == found
    assert RootPath().below(path) == path


@pytest.mark.parametrize("page", ["/images/", "/images", "/images/dashboard", "/images/docs"])
def test_every_link_and_file_of_a_page_is_there(below: Service, page: str) -> None:
    html = below.client.get(page).text
    named = re.findall(r'(?:src|href|data-\w+)="([^"#]+)"', html)
    paths = {name if name.startswith("/") else f"/images/{name}" for name in named if "/" in name}
    assert len(paths) >= 3
    for path in paths:
        assert path.startswith("/images/")
        if path not in ("/images/predict", "/images/jobs/"):
            assert below.client.get(path).status_code == 200, path


def test_an_image_is_accepted_and_found_where_location_says(below: Service) -> None:
    sent = {"data": picture(1), "content_type": "image/png"}
    assert below.client.post("/images/predict", **sent).status_code == 200
    accepted = below.client.post("/images/predict", headers={"Prefer": "respond-async"}, **sent)
    location = accepted.headers["Location"]
    assert location == accepted.json["location"] == f"/images/jobs/{accepted.json['id']}"
    assert below.client.get(location).status_code == 200


def test_errors_have_the_format_of_their_protocol(below: Service) -> None:
    assert set(below.client.post("/images/v1/models/other:predict").json) == {"error"}
    assert below.client.get("/images/nowhere").json["error"]["code"] == "not_found"


def test_the_document_of_the_api_names_the_prefix(below: Service, make_service: MakeService) -> None:
    assert below.client.get("/images/openapi.json").json["servers"] == [{"url": "/images"}]
    assert "servers" not in make_service(with_worker=False).client.get("/openapi.json").json


@pytest.mark.parametrize("path", ["/", "/stats", "/metrics", "/predict", "/static/page.js", "/imagesque/stats"])
def test_without_the_prefix_nothing_is_served_and_the_answer_says_why(below: Service, path: str) -> None:
    response = below.client.get(path)
    assert response.status_code == 404
    assert "ROOT_PATH" in response.json["error"]["message"]


def test_the_prefix_twice_is_not_the_prefix_once(below: Service) -> None:
    """A proxy that cuts the prefix off and forbids /images/metrics would else be passed by."""
    assert below.client.get("/images/images/metrics").status_code == 404


@pytest.mark.parametrize("path", sorted(PROBES))
def test_the_probes_are_there_with_and_without_it(below: Service, path: str) -> None:
    assert below.client.get(path).status_code == below.client.get(f"/images{path}").status_code == 200


@pytest.mark.parametrize("name", ["/images", "/x", "/images/x"])
def test_a_prefix_that_a_server_in_front_has_set_counts_as_part_of_the_path(
    make_service: MakeService, name: str
) -> None:
    """`gunicorn run_web_server:app` believes a header SCRIPT_NAME that comes from 127.0.0.1."""
    client = make_service(with_worker=False).client
    assert client.get("/stats", environ_overrides={"SCRIPT_NAME": name}).status_code == 404
    assert client.get("/stats").status_code == 200


def test_the_event_loop_refuses_below_the_prefix_and_nowhere_else(below: Service) -> None:
    rebuffs = below.app.extensions["rebuffs"]
    for path, is_refused in (("/images/predict", True), ("/predict", False), ("/images/v2/models/null/infer", True)):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n".encode()
        assert (rebuffs.rebuff(head, QueueFull("Full."), 0.0) is not None) == is_refused
    head = b"POST /images/v1/models/null:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
    assert b'{"error":"Full."}' in rebuffs.rebuff(head, QueueFull("Full."), 0.0).answer
