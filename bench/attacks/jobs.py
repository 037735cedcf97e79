"""What one key learns of another's jobs, and what it can do to them."""

from __future__ import annotations

import json
from typing import Any

from bench.attacks.attack import Attack
from bench.attacks.files import zeros_png
from bench.attacks.scene import Scene
from bench.attacks.wire import Reply, ask

ALICE, BOB = "X-API-Key: ka", "X-API-Key: kb"
CLOSE, IMAGE = "Connection: close", "Content-Type: image/png"


def foreign(scene: Scene) -> None:
    """Alice sends images; Bob, who knows their ids, asks for them, reads their traces, cancels them."""
    side = 1
    while not scene.is_over:
        side += 1
        upload = zeros_png(side % 200 + 1, 8)
        job = _id(
            ask(scene.address, scene.address.post("/predict", upload, ALICE, IMAGE, CLOSE, "Prefer: respond-async"))
        )
        if not job:
            scene.fault("alice's own request was not accepted")
            return
        for method, path in (("GET", f"/jobs/{job}"), ("GET", f"/jobs/{job}/trace"), ("DELETE", f"/jobs/{job}")):
            if scene.ask(method, path, BOB, CLOSE).status != 404:
                scene.fault(f"{method} {path.replace(job, 'ID')} of another key's job is answered")
        if job.encode() in scene.ask("GET", "/stats", BOB, CLOSE).body:
            scene.fault("/stats shows another key's jobs")
        same = scene.ask("POST", "/predict", BOB, IMAGE, CLOSE, body=upload)
        if _id(same) == job:
            scene.fault("the result cache hands out another key's job id")
        if _id(ask(scene.address, scene.address.head("GET", f"/jobs/{job}", ALICE, CLOSE))) != job:
            scene.fault("alice does not find her own job")
        scene.rest(0.2)


def _id(reply: Reply) -> str:
    try:
        body: Any = json.loads(reply.body)
    except ValueError:
        return ""
    return str(body.get("id", "")) if isinstance(body, dict) else ""


ATTACKS = (
    Attack(
        "jobs",
        "jobs of another key: read, traced, cancelled, listed",
        foreign,
        settings={"API_KEYS": "alice:ka,bob:kb", "RESULT_CACHE_SECONDS": 60},
        key="ka",
        seconds=(0.0, 4.0),
    ),
)
