"""One attack carried out: alone, during, after; and what is said of it."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.attacks.attack import Attack
from bench.attacks.figures import Sample, between, milliseconds, statuses
from bench.attacks.files import ordinary_jpeg
from bench.attacks.scene import Scene, wait_until
from bench.attacks.verdict import Seen, broken, decoders_bound_mb
from bench.attacks.watchers import Watcher
from bench.attacks.wire import HONEST, PROBER

PROBES, IMAGES = 20.0, 5.0
# Patience of the prober and of honest clients, seconds; the second is more than REQUEST_TIMEOUT.
PROBE_TIMEOUT, IMAGE_TIMEOUT = 5.0, 35.0
ALONE_SECONDS = 2.0
# As before: so long without one bad answer; no longer than that is waited for it.
CALM_SECONDS, MOST_AFTER_SECONDS = 1.0, 10.0
MAX_IMAGE_PIXELS, MAX_UPLOAD_BYTES = 50_000_000, 10 * 2**20


@dataclass(frozen=True)
class Row:
    """An attack's line in the table. through: the proxy, or empty."""

    name: str
    what: str
    through: str
    seconds: float
    seen: Seen
    broken: Sequence[str]

    def figures(self) -> dict[str, Any]:
        """For JSON, which has no infinity: null is what got no answer."""
        seen = {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in dataclasses.asdict(self.seen).items()
        }
        verdict = "not as wanted" if self.broken else "as wanted"
        about = {"name": self.name, "what": self.what, "through": self.through, "seconds": self.seconds}
        return {**about, **seen, "verdict": verdict, "reasons": list(self.broken)}


def carry_out(attack: Attack, *, seconds: float, through: str = "") -> Row:
    """Start a service, attack it for so many seconds, end it. through: nginx, caddy, or empty."""
    with tempfile.TemporaryDirectory(prefix="imagequeue-attack-", ignore_cleanup_errors=True) as directory:
        scene = Scene(attack, Path(directory), seconds=seconds, through=through)
        watchers: list[Watcher] = []
        try:
            return _watched(attack, scene, watchers)
        finally:
            for watcher in watchers:
                watcher.end()
            scene.end()


def _watched(attack: Attack, scene: Scene, watchers: list[Watcher]) -> Row:
    key = (f"X-API-Key: {attack.key}",) if attack.key else ()
    close = "Connection: close"
    probe = scene.address.head("GET", "/livez", close)
    image = scene.address.post("/predict", ordinary_jpeg(), "Content-Type: image/jpeg", close, *key)
    # One after the other, so that what was started is ended whatever happens to the next.
    watchers.append(Watcher(scene.address, probe, source=PROBER, rate=PROBES, timeout=PROBE_TIMEOUT))
    watchers.append(Watcher(scene.address, image, source=HONEST, rate=IMAGES, timeout=IMAGE_TIMEOUT))
    prober, honest = watchers
    for watcher in watchers:
        watcher.wait_for_first()
    calm = time.monotonic()
    wait_until(calm + ALONE_SECONDS)
    attacked = time.monotonic()
    scene.begin()
    attack.run(scene)
    gone = time.monotonic()
    recovered = _recovered(prober, honest, since=gone, calm=calm, attacked=attacked)
    scene.inspect()
    for watcher in watchers:
        watcher.tell_to_end()
    for watcher in watchers:
        watcher.end()
    alone = between(honest.samples, calm, attacked)
    livez, images = between(prober.samples, attacked, gone), between(honest.samples, attacked, gone)
    seen = Seen(
        livez_ms=milliseconds(livez, 0.99),
        livez_max_ms=milliseconds(livez, 1.0),
        alone_ms=milliseconds(alone, 0.99),
        honest_ms=milliseconds(images, 0.99),
        honest=dict(statuses(images)),
        attackers=dict(scene.replies),
        answer_seconds=scene.slowest,
        held=scene.held,
        web_mb=tuple(scene.memory.webs.values()),
        decoders_mb=tuple(scene.memory.decoders_of.values()),
        decoders=scene.memory.decoders,
        recovered_seconds=recovered,
        faults=tuple(scene.faults),
        notes=tuple(scene.notes),
    )
    wanted = attack.wanted
    if wanted.decoders_mb is None:
        bound = decoders_bound_mb(
            max(1, seen.decoders), max_image_pixels=MAX_IMAGE_PIXELS, max_upload_bytes=MAX_UPLOAD_BYTES
        )
        wanted = dataclasses.replace(wanted, decoders_mb=bound)
    if scene.through:
        # A proxy's own words for a server that has cut an attacker off.
        wanted = dataclasses.replace(wanted, may_answer=(*wanted.may_answer, "502"), held=None)
    return Row(attack.name, attack.what, scene.through, gone - attacked, seen, broken(seen, wanted))


def _recovered(prober: Watcher, honest: Watcher, *, since: float, calm: float, attacked: float) -> float | None:
    """Seconds until all was as before for CALM_SECONDS; None if it never was."""
    usual = milliseconds(between(honest.samples, calm, attacked), 1.0) / 1000
    while (now := time.monotonic()) < since + MOST_AFTER_SECONDS + CALM_SECONDS:
        restored = last_bad(prober.samples, honest.samples, since=since, most_seconds=max(usual, 0.0) + 1.0)
        enough = between(prober.samples, now - CALM_SECONDS, now), between(honest.samples, now - CALM_SECONDS, now)
        if now - restored >= CALM_SECONDS and len(enough[0]) >= PROBES / 2 and len(enough[1]) >= IMAGES / 2:
            return restored - since
        time.sleep(0.05)
    return None


def last_bad(
    probes: Sequence[Sample], images: Sequence[Sample], *, since: float, most_seconds: float, most_probe: float = 0.2
) -> float:
    """The end of the last answer that was bad or slow, of those sent after `since`; `since` where all were good."""
    bad = [one for one in probes if one.at >= since and not (one.is_good and one.seconds <= most_probe)]
    bad += [one for one in images if one.at >= since and not (one.is_good and one.seconds <= most_seconds)]
    return max((one.at + min(one.seconds, PROBE_TIMEOUT) for one in bad), default=since)
