"""Slow clients in each phase of a request."""

from __future__ import annotations

from bench.attacks.attack import Attack
from bench.attacks.attackers import Crowd
from bench.attacks.scene import Scene
from bench.attacks.verdict import Wanted

# So long without a byte, and a body has ended; an attack has to last longer to see it.
SILENCE_SECONDS = 10.0
# For rows whose crowd comes with whole requests: p99 of fewer than a hundred probes would be their slowest.
PROBED_SECONDS = 10.0
# Behind its refusal a connection waits so long for its client's end.
LINGER_SECONDS = 5.0
KEYS = {"API_KEYS": "alice:ka"}
IMAGE = "Content-Type: image/png"


def heads(scene: Scene) -> None:
    """Half a head, then silence."""
    _crowd(scene, [b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"], 1500)


def idle(scene: Scene) -> None:
    """One request, then nothing on a connection that is kept alive."""
    _crowd(scene, [scene.address.head("GET", "/livez")], 1500, takes=4096)


def credit(scene: Scene) -> None:
    """Bodies of all sizes that come fast, but for their last byte; as many as a web process has room for, and more."""
    sizes = [10 * 2**20 - 1000] * 26 + [7 * 2**20] * 4 + [900_000] * 8 + [100_000] * 40
    heads = [scene.address.head("POST", "/predict", IMAGE, f"Content-Length: {size}") for size in sizes]
    requests = [head + bytes(size - 1) for head, size in zip(heads, sizes, strict=True)]
    crowd = Crowd(scene, requests)
    crowd.come(len(requests))
    crowd.stay(takes=4096)
    crowd.leave()


def small_credit(scene: Scene) -> None:
    head = scene.address.head("POST", "/predict", IMAGE, "Content-Length: 20000")
    _crowd(scene, [head + bytes(19_999)], 1200, takes=4096)


def refused_401(scene: Scene) -> None:
    """A body that trickles although its request was refused for want of a key."""
    _crowd(
        scene, [scene.address.head("POST", "/predict", IMAGE, "Content-Length: 100000")], 1500, send=b"x", takes=4096
    )


def refused_404(scene: Scene) -> None:
    _crowd(scene, [scene.address.head("POST", "/nowhere", "Content-Length: 100000")], 1500, send=b"x", takes=4096)


def probe_with_body(scene: Scene) -> None:
    """A probe that says it has a body, which trickles."""
    _crowd(scene, [scene.address.head("GET", "/livez", "Content-Length: 60000")], 1500, send=b"x", takes=4096)


def closing(scene: Scene) -> None:
    """One request, the last of its connection, and bytes after it that nobody asked for."""
    _crowd(scene, [scene.address.head("GET", "/livez", "Connection: close")], 1500, send=b"x", takes=4096)


def _crowd(scene: Scene, first: list[bytes], number: int, *, send: bytes = b"", takes: int = 0) -> None:
    crowd = Crowd(scene, first)
    crowd.come(scene.crowd(number))
    crowd.stay(send=send, takes=takes, comes_again=True)
    crowd.leave()


ATTACKS = (
    Attack("heads", "half a head, then silence", heads),
    Attack("idle", "one request, then silence on a kept connection", idle),
    Attack(
        "credit",
        "bodies that come fast but for their last byte",
        credit,
        Wanted(held=0),
        seconds=(SILENCE_SECONDS + LINGER_SECONDS + 2.0, 20.0),
    ),
    Attack("small-credit", "the same with 20 kB, 1,200 at once, coming again", small_credit),
    Attack(
        "refused-401",
        "bodies that trickle although they were refused: no key",
        refused_401,
        settings=KEYS,
        key="ka",
        seconds=(PROBED_SECONDS, 20.0),
    ),
    Attack(
        "refused-404",
        "bodies that trickle although they were refused: no such path",
        refused_404,
        seconds=(PROBED_SECONDS, 20.0),
    ),
    Attack("probe-body", "GET /livez with a body that trickles", probe_with_body),
    Attack("closing", "bytes after the last request of a connection", closing),
)
