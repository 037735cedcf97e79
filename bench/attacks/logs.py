"""How much a client without a key can have written: to the log, and with LOG_REDIS=1 to Redis."""

from __future__ import annotations

from bench.attacks.attack import Attack
from bench.attacks.attackers import repeat
from bench.attacks.scene import Scene
from bench.attacks.wire import ask

# Of each malformed request, on average.
MOST_LOG_BYTES, MOST_REDIS_BYTES = 2048, 2048
EACH = 40
# The writer of the stream sends at such intervals; what it has not sent then belongs to nobody.
SETTLE_SECONDS = 0.6
STREAM = "{image_queue}:log"
KEYS = {"API_KEYS": "alice:ka", "LOG_REDIS": 1}
MAXMEMORY = 32 * 2**20


def malformed(scene: Scene) -> dict[str, bytes]:
    """A request of each kind that the parser refuses, and some that it does not."""
    start, high = b"GET / HTTP/1.1\r\n", b"\xff"
    return {
        "a line without a colon": start + high * 32_000 + b"\r\n\r\n",
        "control characters": start + b"\1" * 32_000 + b"\r\n\r\n",
        "a method of 32 kB": high * 32_000 + b" / HTTP/1.1\r\n\r\n",
        "a header's name of 30 kB": start + high * 30_000 + b": x\r\n\r\n",
        "a target of 4 kB": b"GET /" + high * 3_900 + b" HTTP/1.1\r\n\r\n",
        "an Expect of 8 kB": start + b"Expect: " + high * 8_000 + b"\r\n\r\n",
        "a path of 4 kB": scene.address.head("GET", "/" + "%ff" * 1_300, "Connection: close"),
        "a request id of 30 kB": scene.address.head("GET", "/x", "X-Request-ID: " + "y" * 30_000, "Connection: close"),
        "a wrong key of 30 kB": scene.address.head("GET", "/x", "X-API-Key: " + "y" * 30_000, "Connection: close"),
    }


def lines(scene: Scene) -> None:
    """Each kind some times, and how much was written for it; then all of them until the time is over."""
    requests = malformed(scene)
    with scene.redis_client() as client:
        for kind, request in requests.items():
            if scene.is_over:
                break
            log, stream = scene.log_bytes(), int(client.memory_usage(STREAM) or 0)
            for _ in range(EACH):
                reply = ask(scene.address, request, timeout=2.0)
                scene.count(reply.outcome, reply.seconds)
            scene.rest(SETTLE_SECONDS)
            # Honest clients have their lines, too, a few kilobytes.
            each = (scene.log_bytes() - log) / EACH
            kept = (int(client.memory_usage(STREAM) or 0) - stream) / EACH
            if each > MOST_LOG_BYTES:
                scene.fault(f"{kind}: {each:,.0f} bytes of log for a request, wanted {MOST_LOG_BYTES}")
            if kept > MOST_REDIS_BYTES:
                scene.fault(f"{kind}: {kept:,.0f} bytes in Redis for a request, wanted {MOST_REDIS_BYTES}")
    repeat(scene, list(requests.values()), clients=4)


def stream(scene: Scene) -> None:
    """A Redis that is small, and bad heads as fast as they are taken."""
    repeat(scene, [malformed(scene)["a line without a colon"]], clients=8)
    with scene.redis_client() as client:
        used = int(client.info("memory")["used_memory"])
    if used > 0.9 * MAXMEMORY:
        scene.fault(f"Redis has {used / 1e6:.0f} MB of {MAXMEMORY / 1e6:.0f}")
    scene.note(f"Redis uses {used / 1e6:.0f} MB of {MAXMEMORY / 1e6:.0f}")


ATTACKS = (
    Attack("log-lines", "malformed requests: what each writes", lines, settings=KEYS, key="ka", seconds=(12.0, 20.0)),
    Attack(
        "log-stream",
        "malformed requests with LOG_REDIS=1 and a Redis of 32 MiB",
        stream,
        settings=KEYS,
        redis={"maxmemory": str(MAXMEMORY), "maxmemory-policy": "noeviction"},
        key="ka",
    ),
)
