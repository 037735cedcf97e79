"""Without a REDIS_URL: the server that `make serve` starts, or that there is none."""

from __future__ import annotations

from imagequeue.doctor.localredis import checks

URL = "redis://127.0.0.1:6379/0"


def test_the_first_server_is_named_with_its_version_and_its_holes() -> None:
    versions = {"/usr/bin/valkey-server": ("Valkey", (8, 0, 1)), "/venv/valkey-server": ("Valkey", (9, 1, 2))}
    binaries = {"system": "/usr/bin/valkey-server", "valkey": "/venv/valkey-server"}
    server, security = checks(binaries, product_of=versions.__getitem__, default_url=URL)
    assert server.status == "ok"
    assert "make serve starts Valkey 8.0.1 (/usr/bin/valkey-server)" in server.found
    assert security.status == "warning"


def test_without_any_it_fails_with_what_brings_one() -> None:
    (found,) = checks({}, product_of=lambda binary: ("", ()), default_url=URL)
    assert found.status == "failed"
    assert "make serve" in found.fix
    assert "REDIS_URL=" in found.fix
