"""Answers that nobody reads, or a few bytes at a time."""

from __future__ import annotations

import base64
import gzip

from bench.attacks.attack import Attack
from bench.attacks.attackers import TINY_WINDOW, Crowd
from bench.attacks.documents import UNPACKED, V2
from bench.attacks.files import zeros_png
from bench.attacks.scene import Scene

BUNDLE = "/static/swagger-ui/swagger-ui-bundle.js"
# Some read that much now and then, so that the connection is never silent.
SIP = 1500


def echo(scene: Scene) -> None:
    """An id that the answer repeats, and which is longer in it: each of its letters is six bytes of JSON there."""
    image = base64.b64encode(zeros_png(8, 8)).decode()
    tensor = f'"inputs":[{{"name":"image","datatype":"BYTES","shape":[1],"data":["{image}"]}}]'
    document = f'{{"id":"{"ü" * (UNPACKED // 2 - 500)}",{tensor}}}'.encode()
    fields = ("Content-Type: application/json", "Content-Encoding: gzip")
    _unread(scene, scene.address.post(V2, gzip.compress(document, 9), *fields), number=60)


def bundle(scene: Scene) -> None:
    _unread(scene, scene.address.head("GET", BUNDLE) * 3, number=1500)


def bundle_sipped(scene: Scene) -> None:
    _unread(scene, scene.address.head("GET", BUNDLE) * 3, number=1500, takes=SIP)


def description(scene: Scene) -> None:
    _unread(scene, scene.address.head("GET", "/openapi.json") * 20, number=1500)


def _unread(scene: Scene, request: bytes, *, number: int, takes: int = 0) -> None:
    crowd = Crowd(scene, [request], window=TINY_WINDOW)
    crowd.come(scene.crowd(number))
    crowd.stay(takes=takes, comes_again=True)
    crowd.leave()


ATTACKS = (
    Attack("echo", "an id of megabytes on /v2, which the answer repeats, not read", echo),
    Attack("bundle", "the largest static file, asked for three times, not read", bundle),
    Attack("bundle-sipped", "the same, 1,500 bytes read now and then", bundle_sipped),
    Attack("description", "/openapi.json twenty times over, not read", description),
)
