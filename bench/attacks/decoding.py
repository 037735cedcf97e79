"""Files of a few kilobytes that take long or much memory to decode: waited for, hung up on, many in one request."""

from __future__ import annotations

from bench.attacks import files
from bench.attacks.attack import Attack
from bench.attacks.attackers import form, hang_up, repeat
from bench.attacks.scene import Scene
from bench.attacks.verdict import Wanted

# A deadline that an attack lasts longer than.
DEADLINE = 3
SETTINGS = {"REQUEST_TIMEOUT": DEADLINE}
# Answered or cut off at the deadline; the second on top is what a full machine needs to say so.
WANTED = Wanted(answer_seconds=DEADLINE + 2.0)
TYPE = "Content-Type: application/octet-stream"


def posts(scene: Scene, *uploads: bytes) -> list[bytes]:
    return [scene.address.post("/predict", upload, TYPE, "Connection: close") for upload in uploads]


def scans(scene: Scene) -> None:
    repeat(scene, posts(scene, files.many_scans(1000)), clients=8)


def scans_left(scene: Scene) -> None:
    (request,) = posts(scene, files.many_scans(1000))
    hang_up(scene, request, clients=8, pause=0.2)


def thin(scene: Scene) -> None:
    repeat(scene, posts(scene, files.zeros_png(files.MAX_IMAGE_PIXELS, 1)), clients=4)


def tall(scene: Scene) -> None:
    repeat(scene, posts(scene, files.zeros_png(1, files.MAX_IMAGE_PIXELS)), clients=4)


def large(scene: Scene) -> None:
    repeat(scene, posts(scene, files.zeros_png(7000, 7000)), clients=8)


def short_rows(scene: Scene) -> None:
    repeat(scene, posts(scene, files.short_rows_bmp(50_000, 1000)), clients=8)


def segments(scene: Scene) -> None:
    repeat(scene, posts(scene, files.many_segments(), files.many_chunks()), clients=4)


def many(scene: Scene) -> None:
    _many(scene)


def many_later(scene: Scene) -> None:
    _many(scene, "Prefer: respond-async")


def _many(scene: Scene, *fields: str) -> None:
    body = form([files.short_rows_bmp(50_000, 400)] * 16)
    fields = ("Content-Type: multipart/form-data; boundary=b", "Connection: close", *fields)
    repeat(scene, [scene.address.post("/predict", body, *fields)], clients=4)


ATTACKS = (
    Attack("scans", "progressive JPEGs of 1,000 scans, waited for", scans, WANTED, SETTINGS),
    Attack("scans-left", "the same, hung up on at once", scans_left, WANTED, SETTINGS),
    Attack("thin", "PNGs of 50,000,000 x 1", thin, WANTED, SETTINGS),
    Attack("tall", "PNGs of 1 x 50,000,000", tall, WANTED, SETTINGS),
    Attack("large", "PNGs of 7000 x 7000, packed to a thousandth", large, WANTED, SETTINGS),
    Attack("short-rows", "BMPs whose rows the decoder fills up", short_rows, WANTED, SETTINGS),
    Attack("segments", "JPEGs and PNGs of hundreds of thousands of parts", segments, WANTED, SETTINGS),
    Attack("many", "16 costly images in one request, waited for", many, WANTED, SETTINGS),
    Attack("many-later", "the same with Prefer: respond-async", many_later, WANTED, SETTINGS),
)
