"""The document is made from the routes, so none is missing and none is made up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from imagequeue import __version__
from imagequeue.errors import ClientGone, ImageQueueError
from imagequeue.web import openapi
from tests.support.inprocess import Service

MakeService = Callable[..., Service]
STATIC = Path(openapi.__file__).with_name("static") / "swagger-ui"


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service(with_worker=False)


def test_every_route_is_either_described_or_named_as_a_page(service: Service) -> None:
    told = openapi.read_yaml()
    endpoints = {rule.endpoint for rule in service.app.url_map.iter_rules()}
    assert endpoints == set(told["operations"]) | set(told["pages"])
    assert not set(told["operations"]) & set(told["pages"])


def test_every_method_and_argument_of_a_route_is_described(service: Service) -> None:
    paths = service.client.get("/openapi.json").json["paths"]
    assert set(paths["/jobs/{job_id}"]) == {"get", "delete"}
    assert set(paths["/predict"]) == {"post"}
    assert set(paths["/v1/models/{name}/versions/{version}:predict"]) == {"post"}
    for path, operations in paths.items():
        for operation in operations.values():
            named = {p["name"] for p in operation["parameters"] if p.get("in") == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path


def test_every_operation_says_what_it_is_for_under_an_id_of_its_own(service: Service) -> None:
    operations = [o for path in service.client.get("/openapi.json").json["paths"].values() for o in path.values()]
    assert all(operation["summary"] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere_and_every_shape_is_used(service: Service) -> None:
    response = service.client.get("/openapi.json")
    referred = set(re.findall(r'"#/components/(\w+/\w+)"', response.text))
    components = response.json["components"]
    there = {f"{kind}/{name}" for kind, named in components.items() for name in named if kind != "securitySchemes"}
    assert referred == there


def test_every_status_that_the_service_has_an_error_for_is_explained() -> None:
    def below(kind: type[ImageQueueError]) -> set[type[ImageQueueError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    statuses = {kind.status for kind in below(ImageQueueError) if kind.__module__ == ImageQueueError.__module__}
    # Whom ClientGone is about hears nothing.
    assert statuses - {ClientGone.status} <= set(openapi.read_yaml()["statuses"])


def test_its_version_is_the_projects(service: Service) -> None:
    document = service.client.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == __version__


def test_a_route_that_nothing_is_said_about_is_an_error_that_names_it(service: Service) -> None:
    app = Flask("imagequeue.web")
    app.add_url_rule("/new", "somebody.new", lambda: "")
    with pytest.raises(KeyError, match=r"somebody\.new"):
        openapi.describe(app)


def test_the_page_loads_nothing_that_is_not_here(service: Service) -> None:
    page = service.client.get("/docs")
    assert page.status_code == 200
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 5
    for name in named:
        assert service.client.get(f"/{name}").status_code == 200, name
    assert "'unsafe-" not in page.headers["Content-Security-Policy"]


def test_the_pages_licence_stands_beside_it() -> None:
    assert "Apache License" in (STATIC / "LICENSE").read_text()
    assert "SmartBear" in (STATIC / "NOTICE").read_text()


def test_many_who_ask_at_once_have_it_made_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Flask] = []

    def describe(app: Flask) -> dict[str, Any]:
        made.append(app)
        # The others come meanwhile.
        time.sleep(0.1)
        return {"paths": {}}

    monkeypatch.setattr(openapi, "describe", describe)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: service.app.test_client().get("/openapi.json").data, range(8)))
    assert len(made) == 1
    assert len(set(answers)) == 1
