"""What docs/security.md tells people to do, done."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import redis
import requests

from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, System, eventually

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_a_job_belongs_to_its_key_in_every_process_of_every_server(
    redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    system = make_system(redis_server, API_KEYS="alice:ka,bob:kb,root:kr", API_ADMINS="root", WEB_PROCESSES=2)
    system.start(webs=2)
    sent = system.predict(picture(1), **{"X-API-Key": "ka", "Prefer": "respond-async"})
    job_id = sent.json()["id"]

    def ask(key: str) -> list[tuple[int, str]]:
        """(status, state) from each process: each call has a connection of its own."""
        answers = [
            requests.get(f"{url}/jobs/{job_id}", headers={"X-API-Key": key}, timeout=20)
            for url in system.urls
            for _ in range(6)
        ]
        return [(answer.status_code, answer.json().get("state", "")) for answer in answers]

    eventually(lambda: set(ask("ka")) == {(200, "done")})
    assert set(ask("kr")) == {(200, "done")}
    assert set(ask("kb")) == {(404, "")}


def test_the_redis_user_of_the_page_can_do_what_the_service_does_and_no_more(
    redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    (rules,) = re.findall(r"^user imagequeue (.*)$", PAGE, re.MULTILINE)
    admin = redis_server.client()
    admin.execute_command("ACL", "SETUSER", "imagequeue", *rules.replace("PASSWORD", "secret").split())
    url = f"redis://imagequeue:secret@127.0.0.1:{redis_server.port}/0"

    system = make_system(url, API_KEYS="alice:k", RATE_LIMIT="100/minute", LOG_REDIS=1).start()
    key = {"X-API-Key": "k"}
    assert system.predict(picture(1), **key).status_code == 200
    assert not admin.acl_log()
    for path in ("/readyz", "/stats", "/metrics"):
        assert requests.get(f"{system.url}{path}", headers=key, timeout=20).status_code == 200, admin.acl_log()
    eventually(lambda: admin.xlen("{image_queue}:log"), what="a log line in Redis")
    # It may set aside what is not the queue's.
    admin.set("{image_queue}:stats", "somebody's")
    eventually(lambda: system.predict(picture(2), **key).status_code == 200)
    assert admin.type("{image_queue}:wrong:stats") == b"string"
    for script in (*system.webs, *system.workers):
        assert "log_stream_away" not in script.output
        assert "NOPERM" not in script.output
        assert "permit" not in script.output
    denied = admin.acl_log()
    assert not denied, denied

    with redis.Redis.from_url(url, protocol=2) as user:
        for command in (
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("KEYS", "*"),
            ("SHUTDOWN",),
            ("ACL", "LIST"),
            ("GET", "another"),
            ("PUBLISH", "another", "x"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                user.execute_command(*command)
