"""JSON that is small while it is packed, or that takes long to read: /v1, /v2 and /predict."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Callable

from bench.attacks.attack import Attack
from bench.attacks.attackers import repeat
from bench.attacks.files import MAX_UPLOAD_BYTES
from bench.attacks.scene import Scene
from bench.attacks.verdict import Wanted

V1, V2, PREDICT = "/v1/models/null:predict", "/v2/models/null/infer", "/predict"
# As much as a document may have when it is unpacked: images as base64, and some text around them.
UNPACKED = MAX_UPLOAD_BYTES * 4 // 3 + 60_000
DEADLINE = 3
WANTED = Wanted(answer_seconds=DEADLINE + 2.0)


def filled(before: bytes, filler: bytes, after: bytes) -> bytes:
    """`filler` as often as there is room for it."""
    return before + filler * ((UNPACKED - len(before) - len(after)) // len(filler)) + after


@functools.cache
def strings_v2() -> bytes:
    return filled(b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":[', b'"",', b'""]}]}')


@functools.cache
def lists_v1() -> bytes:
    return filled(b'{"instances":[[', b"[],", b"[]]]}")


@functools.cache
def numbers_v1() -> bytes:
    return filled(b'{"instances":[[', b"[0,0,0],", b"[0,0,0]]]}")


@functools.cache
def strings_predict() -> bytes:
    return filled(b'{"images":[', b'"",', b'""]}')


@functools.cache
def parameters_v1() -> bytes:
    return filled(b'{"instances":["data:a/b', b";a=", b'"]}')


@functools.cache
def parameters_predict() -> bytes:
    return filled(b'{"image":"data:a/b', b";a=", b'"}')


@functools.cache
def digits_predict() -> bytes:
    return filled(b'{"images":[', b"1" * 4300 + b",", b"1]}")


def packed(scene: Scene, path: str, document: bytes, clients: int) -> None:
    """Compressed to a thousandth."""
    fields = ("Content-Type: application/json", "Content-Encoding: gzip", "Connection: close")
    repeat(scene, [scene.address.post(path, gzip.compress(document, 9), *fields)], clients=clients)


def plain(scene: Scene, path: str, document: bytes, clients: int) -> None:
    fields = ("Content-Type: application/json", "Connection: close")
    repeat(scene, [scene.address.post(path, document, *fields)], clients=clients)


def _attack(
    name: str,
    what: str,
    path: str,
    document: Callable[[], bytes],
    send: Callable[[Scene, str, bytes, int], None] = packed,
    clients: int = 8,
) -> Attack:
    def run(scene: Scene) -> None:
        send(scene, path, document(), clients)

    return Attack(name, what, run, WANTED, {"REQUEST_TIMEOUT": DEADLINE})


ATTACKS = (
    _attack("packed-crowd", "100 at once: 14 kB of gzip that are 14 MB of JSON on /v2", V2, strings_v2, clients=100),
    _attack("packed-lists", "packed: millions of empty lists on /v1", V1, lists_v1),
    _attack("packed-numbers", "packed: millions of pixels on /v1", V1, numbers_v1),
    _attack("packed-predict", "packed: millions of empty images on /predict", PREDICT, strings_predict),
    _attack("packed-url", "packed: a data: URL with millions of parameters on /v1", V1, parameters_v1),
    _attack("json-url", "a data: URL with millions of parameters on /predict", PREDICT, parameters_predict, plain, 4),
    _attack("json-digits", "thousands of numbers of 4,300 digits on /predict", PREDICT, digits_predict, plain, 4),
)
