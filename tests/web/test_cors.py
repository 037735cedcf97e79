"""CORS: off unless a setting names who may call, and a preflight needs nothing but that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagequeue.web.access import Access
from imagequeue.web.keys import ApiKeys
from tests.support.inprocess import Service
from tests.support.pictures import picture

MakeService = Callable[..., Service]
ORIGIN = "https://photos.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, x-api-key"}


def test_by_default_no_answer_lets_another_origin_read_it(make_service: MakeService) -> None:
    client = make_service(with_worker=False).client
    for response in (
        client.get("/livez", headers={"Origin": ORIGIN}),
        client.options("/predict", headers={"Origin": ORIGIN, **PREFLIGHT}),
    ):
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_a_named_origin_may_read_answers_and_errors_alike(make_service: MakeService) -> None:
    client = make_service(cors_origins=[ORIGIN, "https://other.example"]).client
    good = client.post("/predict", data=picture(1), content_type="image/png", headers={"Origin": ORIGIN})
    bad = client.post("/predict", data=b"", content_type="image/png", headers={"Origin": ORIGIN})
    assert (good.status_code, bad.status_code) == (200, 400)
    for response in (good, bad):
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Origin" in ", ".join(response.headers.getlist("Vary"))
        assert "X-Request-ID" in response.headers["Access-Control-Expose-Headers"]


def test_an_origin_that_is_not_named_may_not(make_service: MakeService) -> None:
    client = make_service(with_worker=False, cors_origins=[ORIGIN]).client
    response = client.get("/livez", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origins", [[ORIGIN], [ORIGIN, "https://other.example"]])
@pytest.mark.parametrize("origin", [None, ORIGIN, "https://evil.example", "null"])
def test_where_an_answer_depends_on_the_origin_every_answer_says_so(
    make_service: MakeService, origins: list[str], origin: str | None
) -> None:
    service = make_service(with_worker=False, cors_origins=origins, access=Access(keys=ApiKeys([("alice", "ka")])))
    headers = {"Origin": origin} if origin else {}
    key = {"X-API-Key": "ka"}
    answers = [
        service.client.get("/livez", headers=headers),
        service.client.get("/static/style.css", headers=headers),
        service.client.get("/nowhere", headers=headers | key),
        service.client.get("/predict", headers=headers | key),
        service.client.get("/stats", headers=headers),
        service.client.post("/predict", data=b"", content_type="image/png", headers=headers | key),
        service.client.options("/predict", headers=headers | PREFLIGHT),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 405, 401, 400, 200]
    for answer in answers:
        varied = ", ".join(answer.headers.getlist("Vary")).split(", ")
        assert varied.count("Origin") == 1, answer.request.path
        allowed = answer.headers.getlist("Access-Control-Allow-Origin")
        assert allowed == ([ORIGIN] if origin == ORIGIN else []), answer.request.path


@pytest.mark.parametrize("origin", [None, ORIGIN])
def test_where_every_origin_may_call_the_answer_does_not_depend_on_it(
    make_service: MakeService, origin: str | None
) -> None:
    service = make_service(with_worker=False, cors_origins=["*"])
    answer = service.client.get("/livez", headers={"Origin": origin} if origin else {})
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert "Origin" not in ", ".join(answer.headers.getlist("Vary"))


def test_a_preflight_is_answered_before_anything_else_is_asked(make_service: MakeService) -> None:
    service = make_service(with_worker=False, cors_origins=["*"])
    # A door like the one that API keys have: it comes after.
    service.app.before_request(lambda: ("no key", 401))
    response = service.client.options("/predict", headers={"Origin": ORIGIN, **PREFLIGHT})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "x-api-key" in response.headers["Access-Control-Allow-Headers"].lower()
    assert int(response.headers["Access-Control-Max-Age"]) > 0
