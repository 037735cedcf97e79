"""The sample pictures, whole and small."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from imagequeue.errors import NotFound
from imagequeue.web.samples import THUMBNAIL_SIZE, Samples, blueprint
from tests.support.system import ROOT


def client_of(directory: Path | None) -> FlaskClient:
    app = Flask("test")
    app.extensions["samples"] = Samples(directory)
    app.register_blueprint(blueprint)
    app.register_error_handler(NotFound, lambda error: (error.message, error.status))
    return app.test_client()


@pytest.fixture
def client() -> FlaskClient:
    return client_of(ROOT / "samples")


def test_a_sample_is_served_as_it_lies_there(client: FlaskClient) -> None:
    response = client.get("/samples/clock.png")
    assert response.mimetype == "image/png"
    assert response.data == (ROOT / "samples" / "clock.png").read_bytes()
    assert client.get("/samples/clock.png", headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


def test_a_thumbnail_is_small_and_shows_the_same_shape(client: FlaskClient) -> None:
    response = client.get("/samples/clock.png/thumbnail")
    assert response.mimetype == "image/webp"
    assert len(response.data) < 5000
    with Image.open(io.BytesIO(response.data)) as image:
        assert image.size == THUMBNAIL_SIZE
    again = client.get("/samples/clock.png/thumbnail", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["none.png", "..%2fREADME.md", "%2e%2e%2fsettings.py", "clock.png%00"])
def test_nothing_else_of_the_disk_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/samples/{name}").status_code == 404
    assert client.get(f"/samples/{name}/thumbnail").status_code == 404


def test_without_a_directory_there_are_none() -> None:
    assert Samples(None).names == []
    assert client_of(None).get("/samples/clock.png").status_code == 404
