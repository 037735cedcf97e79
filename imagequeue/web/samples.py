"""The sample pictures of the project, for people who have none at hand: whole, and small enough for a page."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, current_app, make_response, request, send_from_directory
from PIL import Image

from imagequeue.errors import NotFound

# Twice the size at which the page shows them, for screens with two pixels to each.
THUMBNAIL_SIZE = (128, 128)
MAX_AGE = 3600

blueprint = Blueprint("samples", __name__)


class Samples:
    """The PNG files of one directory, by name; none where there is no such directory."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.names = sorted(file.name for file in directory.glob("*.png")) if directory else []
        self.thumbnail = cache(self._thumbnail)

    def _thumbnail(self, name: str) -> bytes:
        """A small WebP of one of `names`."""
        assert self.directory is not None
        with Image.open(self.directory / name) as image:
            small = image.convert("RGB")
        small.thumbnail(THUMBNAIL_SIZE)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=60)
        return buffer.getvalue()


@blueprint.get("/samples/<name>")
def sample(name: str) -> Response:
    samples = _having(name)
    assert samples.directory is not None
    return send_from_directory(samples.directory.resolve(), name, max_age=MAX_AGE)


@blueprint.get("/samples/<name>/thumbnail")
def thumbnail(name: str) -> Response:
    response = make_response(_having(name).thumbnail(name))
    response.mimetype = "image/webp"
    response.cache_control.public = True
    response.cache_control.max_age = MAX_AGE
    response.add_etag()
    response.make_conditional(request)
    return response


def _having(name: str) -> Samples:
    """The samples, if `name` is one of them. Raises NotFound."""
    samples: Samples = current_app.extensions["samples"]
    if name not in samples.names:
        raise NotFound(f"There is no sample picture {name[:100]!r}.")
    return samples
