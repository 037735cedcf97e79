"""Headers that claim something: a prefix, a name of the server, an address."""

from __future__ import annotations

import re

from bench.attacks.attack import Attack
from bench.attacks.files import zeros_png
from bench.attacks.scene import Scene

EVIL = "evil.example"
CLOSE = "Connection: close"
PAUSE = 0.1
# What a proxy may be told to keep to itself, and a word of each that no error page has.
INSIDE = {"/stats": b'"counters"', "/metrics": b"# TYPE", "/dashboard": b"<html"}
SPELLINGS = ("SCRIPT_NAME", "Script_Name", "SCRIPT-NAME")


def prefix(scene: Scene) -> None:
    """A prefix that the client claims must neither lead to other paths nor into links."""
    while not scene.is_over:
        for name in SPELLINGS:
            for path, word in INSIDE.items():
                if word in scene.ask("GET", f"/x{path}", f"{name}: /x", CLOSE).body:
                    scene.fault(f"{path} is served as /x{path} with {name}: /x")
            if scene.ask("GET", "/livez", f"{name}: /nope", CLOSE).status == 500:
                scene.fault(f"500 for {name}: /nope")
            page = scene.ask("GET", f"//{EVIL}/", f"{name}: //{EVIL}", CLOSE).body
            if _links_to_evil(page):
                scene.fault(f"{name} gets into a page's links")
        scene.rest(PAUSE)


def host(scene: Scene) -> None:
    """A name that is not this server's must not get into an answer."""
    upload = zeros_png(8, 8)
    kind, later = "Content-Type: image/png", "Prefer: respond-async"
    while not scene.is_over:
        for fields in ((f"Host: {EVIL}",), (f"X-Forwarded-Host: {EVIL}",), (f"Forwarded: host={EVIL}",)):
            page = scene.ask("GET", "/", *fields, CLOSE)
            job = scene.ask("POST", "/predict", *fields, CLOSE, kind, later, body=upload)
            if _links_to_evil(page.body) or EVIL in job.headers.get("Location", ""):
                scene.fault(f"{fields[0]} gets into an answer")
            # Caddy has an empty 200 for a name that it does not know.
            if fields[0].startswith("Host:") and page.status == 200 and page.body:
                scene.fault(f"served to whoever calls this server {EVIL}")
        scene.rest(PAUSE)


def forwarded(scene: Scene) -> None:
    """Addresses that are none: quotes, 10 kB, commas."""
    claims = ['"', '"1.2.3.4', '1.2.3.4, "', "1.2.3.4" * 1400, "," * 10_000, '[::1]:"', "\xff" * 1000, "", "a b\tc"]
    upload = zeros_png(8, 8)
    while not scene.is_over:
        for claim in claims:
            for name in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP"):
                reply = scene.ask("POST", "/predict", f"{name}: {claim}", CLOSE, "Content-Type: image/png", body=upload)
                if reply.status >= 500 and reply.status != 503:
                    scene.fault(f"{reply.status} for {name}: {claim[:20]}")
        scene.rest(PAUSE)


def _links_to_evil(page: bytes) -> bool:
    return re.search(rb'(?:src|href|content|action)="[^"]*' + re.escape(EVIL).encode(), page) is not None


SHORT = (0.0, 3.0)
ATTACKS = (
    Attack("prefix", "SCRIPT_NAME from a client", prefix, seconds=SHORT),
    Attack("host", "another name of the server, from a client", host, seconds=SHORT),
    Attack(
        "forwarded",
        "X-Forwarded-For and its kin with quotes and 10 kB",
        forwarded,
        settings={"TRUSTED_PROXIES": 1, "RATE_LIMIT": "100000/minute"},
        seconds=SHORT,
    ),
)
