"""The headers that stand on every answer."""

from __future__ import annotations

import pytest
from flask import Flask, Response

from imagequeue.web import headers


def page(body: str = "<p>", mimetype: str = "text/html", **own: str) -> Response:
    app = Flask("test")
    app.after_request(lambda response: (headers.add_to(response), response)[1])
    app.add_url_rule("/", view_func=lambda: Response(body, mimetype=mimetype, headers=own))
    return app.test_client().get("/")


def directives(response: Response) -> dict[str, list[str]]:
    policy = response.headers["Content-Security-Policy"]
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


@pytest.mark.parametrize("mimetype", ["text/html", "application/json", "text/plain"])
def test_every_answer_carries_them_whatever_it_is(mimetype: str) -> None:
    response = page(mimetype=mimetype)
    for name, value in headers.EVERYWHERE.items():
        assert response.headers[name] == value
    assert directives(response)["frame-ancestors"] == ["'none'"]


def test_a_page_may_run_and_load_what_this_server_serves_and_nothing_else() -> None:
    found = directives(page())
    assert found["default-src"] == ["'none'"]
    assert found["script-src"] == found["style-src"] == found["connect-src"] == ["'self'"]
    assert found["img-src"] == ["'self'", "data:", "blob:"]
    assert found["base-uri"] == found["form-action"] == ["'none'"]
    assert not [value for values in found.values() for value in values if "unsafe" in value or "*" in value]


def test_what_is_no_page_may_load_nothing() -> None:
    assert not {"script-src", "img-src", "connect-src"} & directives(page(mimetype="application/json")).keys()


def test_what_a_view_sets_itself_stays() -> None:
    response = page(**{"Cache-Control": "max-age=60", "Content-Security-Policy": "sandbox"})
    assert response.headers.getlist("Cache-Control") == ["max-age=60"]
    assert response.headers.getlist("Content-Security-Policy") == ["sandbox"]
