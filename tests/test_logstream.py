"""The log of all servers in one Redis: nobody waits for it, and what is lost is said."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from imagequeue import logroom, logstream
from imagequeue.logstream import LogReader, LogStream, key_of
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT, eventually

KEY = key_of("image_queue")


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"level": record.levelname, "action": record.msg, **getattr(record, "fields", {})})


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The package's own, whose lines go nowhere but to what a test adds."""
    chosen = logging.getLogger("imagequeue")
    before = (chosen.level, chosen.propagate, chosen.handlers[:])
    chosen.setLevel("DEBUG")
    chosen.propagate = False
    yield chosen
    for handler in chosen.handlers:
        handler.close()
    chosen.level, chosen.propagate, chosen.handlers[:] = before


def attach(logger: logging.Logger, url: str, **limits: int) -> LogStream:
    stream = LogStream(url, "image_queue", **limits)
    stream.setFormatter(Formatter())
    logger.addHandler(stream)
    return stream


def actions(client: redis.Redis) -> list[str]:
    entries: Any = client.xrange(KEY)
    return [json.loads(fields[b"line"])["action"] for _, fields in entries]


def test_each_line_arrives_once_and_in_order(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger
) -> None:
    attach(logger, each_redis.url)
    for number in range(1200):
        logger.info(f"line-{number}")
    eventually(lambda: client.xlen(KEY) == 1200)
    assert actions(client) == [f"line-{number}" for number in range(1200)]


def test_what_waits_is_sent_when_the_process_ends(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger
) -> None:
    stream = attach(logger, each_redis.url)
    logger.info("last words")
    stream.close()
    assert actions(client) == ["last words"]


def test_the_stream_is_capped(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logstream, "MAX_LINES", 200)
    attach(logger, each_redis.url)
    for _ in range(2000):
        logger.info("again")
    logger.info("the end")
    eventually(lambda: (actions(client) or [""])[-1] == "the end")
    # Redis cuts whole nodes of a hundred entries off.
    assert client.xlen(KEY) <= 300


def test_while_redis_is_away_nobody_waits_and_the_newest_lines_are_kept(
    redis_server: RedisServer, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, are_written, outlasted = threading.Event(), threading.Event(), []
    connect = redis.Connection.connect

    def connect_for_long(self: redis.Connection) -> None:
        connecting.set()
        outlasted.append(are_written.wait(20))
        connect(self)

    redis_server.stop()
    with monkeypatch.context() as away:
        away.setattr(redis.Connection, "connect", connect_for_long)
        attach(logger, redis_server.url, max_waiting=50)
        logger.info("line-0")
        assert connecting.wait(20)
        for number in range(1, 5000):
            logger.info(f"line-{number}")
        are_written.set()
        eventually(lambda: outlasted)
        assert all(outlasted), "an attempt to connect lasts until all are written, and holds up none of them"
    redis_server.start()
    with redis_server.client() as client:
        eventually(lambda: "log_dropped" in actions(client))
        entries: Any = client.xrange(KEY)
    lines = [json.loads(fields[b"line"]) for _, fields in entries]
    kept = [line["action"] for line in lines if line["action"].startswith("line-")]
    assert kept[-1] == "line-4999"
    (dropped,) = [line["lines"] for line in lines if line["action"] == "log_dropped"]
    away = sum(line["action"] == "log_stream_away" for line in lines)
    assert dropped + len(kept) in (5000, 5000 + (1 - away)), "every line is either there or counted"
    assert away <= 1, "said once, not at every attempt"


def test_a_redis_at_its_memory_limit_holds_nobody_up(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger
) -> None:
    stream = attach(logger, each_redis.url)
    client.config_set("maxmemory", "1")
    try:
        logger.info("refused")
        eventually(lambda: stream._is_away)
    finally:
        client.config_set("maxmemory", "0")
    eventually(lambda: "refused" in actions(client))


def test_a_forked_child_sends_its_own_lines_and_none_of_its_parents(redis_server: RedisServer) -> None:
    program = """
        import logging, os, sys
        sys.path.insert(0, os.environ["ROOT"])
        import logutil
        from imagequeue.logstream import LogStream
        logutil.configure(server="host-1", script="run_test.py", stream=LogStream(os.environ["URL"], "image_queue"))
        for number in range(100):
            logutil.log("parent", number=number)
        children = []
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                for number in range(100):
                    logutil.log("child", child=child, number=number)
                sys.exit(0)
            children.append(pid)
        print([os.waitpid(pid, 0)[1] for pid in children])
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "ROOT": str(ROOT), "URL": redis_server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == "[0, 0, 0]\n"
    with redis_server.client() as client:
        sent = actions(client)
    assert (sent.count("parent"), sent.count("child")) == (100, 300)


def test_an_event_is_placed_by_redis_own_clock(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = attach(logger, each_redis.url)
    record = logger.makeRecord("imagequeue", logging.INFO, "", 0, "early", (), None)
    # A host an hour behind writes the same instant; what it believes must not matter.
    monkeypatch.setattr(logstream, "seconds_ahead", lambda client: 3600.0)
    record.created -= 3600
    before = LogReader(each_redis.url, "image_queue").now_ms()
    stream.handle(record)
    eventually(lambda: client.xlen(KEY) == 1)
    (line,) = LogReader(each_redis.url, "image_queue").kept()
    assert abs(line.at - before) < 60_000


def test_the_distance_between_the_clocks_is_measured(client: redis.Redis) -> None:
    assert abs(logstream.seconds_ahead(client)) < 1, "both run on this machine"


def test_the_reader_goes_on_where_it_stopped(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger
) -> None:
    attach(logger, each_redis.url)
    for number in range(2500):
        logger.info(f"line-{number}")
    eventually(lambda: client.xlen(KEY) == 2500)
    reader = LogReader(each_redis.url, "image_queue")
    assert len(list(reader.kept())) == 2500
    logger.info("news")
    assert next(reader.follow()).content["action"] == "news"


def test_what_is_no_line_of_ours_is_passed_over(each_redis: RedisServer, client: redis.Redis) -> None:
    for fields in ({"a": "b"}, {"at": "x", "line": "{}"}, {"at": "1", "line": "{"}, {"at": "1", "line": "7"}):
        client.xadd(KEY, fields)  # type: ignore[arg-type]
    client.xadd(KEY, {"at": "5", "line": '{"action": "good"}'})
    assert [line.content for line in LogReader(each_redis.url, "image_queue").kept()] == [{"action": "good"}]


def test_only_what_came_since_then_is_read(each_redis: RedisServer, client: redis.Redis) -> None:
    for at in (1000, 2000, 3000):
        client.xadd(KEY, {"at": at, "line": json.dumps({"at": at})}, id=f"{at}-0")
    found = LogReader(each_redis.url, "image_queue").kept(since_ms=2000)
    assert [line.at for line in found] == [2000, 3000]


def test_a_redis_that_was_never_there_ends_no_process() -> None:
    stream = LogStream(f"redis://127.0.0.1:{free_port()}/0", "image_queue", max_waiting=5)
    stream.setFormatter(Formatter())
    stream.handle(logging.LogRecord("x", logging.INFO, "", 0, "a", None, None))
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 10


def test_the_stream_is_capped_in_bytes_however_long_the_lines_are(
    each_redis: RedisServer, client: redis.Redis, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logroom, "MAX_BYTES", 2**20)
    monkeypatch.setattr(logroom, "MEASURE_BYTES", 2**18)
    attach(logger, each_redis.url)
    for _ in range(1500):
        logger.info("short")
    eventually(lambda: client.xlen(KEY) == 1500)
    for number in range(800):
        logger.info("x" * 8000 + str(number))
        if number % 100 == 0:
            eventually(lambda number=number: client.xlen(KEY) and actions(client)[-1].endswith(f"x{number}"))
    eventually(lambda: actions(client)[-1].endswith("x799"))
    used: Any = client.memory_usage(KEY, samples=0)
    assert used < 2 * 2**20, "6.4 MB were written"
    assert used > 2**18, "the latest lines are kept"


def test_what_waits_while_redis_is_away_is_bounded_in_bytes(redis_server: RedisServer, logger: logging.Logger) -> None:
    redis_server.stop()
    stream = attach(logger, redis_server.url, max_waiting_bytes=100_000)
    for number in range(1000):
        logger.info("x" * 4000 + str(number))
    assert sum(len(line) for _, line in stream._waiting) <= 100_000
    redis_server.start()
    with redis_server.client() as client:
        eventually(lambda: "log_dropped" in actions(client))
        kept = [action for action in actions(client) if action.startswith("x")]
        lines = [json.loads(fields[b"line"]) for _, fields in client.xrange(KEY)]  # type: ignore[union-attr]
    assert kept[-1].endswith("x999")
    (dropped,) = [line["lines"] for line in lines if line["action"] == "log_dropped"]
    assert dropped >= 1000 - len(kept) > 0


def test_a_redis_that_is_nearly_full_gets_no_lines_and_jobs_find_room(
    make_redis: Callable[..., RedisServer], logger: logging.Logger
) -> None:
    server = make_redis(maxmemory="64mb", **{"maxmemory-policy": "noeviction"})
    stream = attach(logger, server.url)
    with server.client() as client:
        for number in range(60):
            client.set(f"jobs:{number}", bytes(2**20))
            if client.info("memory")["used_memory"] > 0.9 * 64 * 2**20:
                break
        logger.info("no room")
        eventually(lambda: stream._is_away)
        assert not client.exists(KEY)
        client.set("another", bytes(2**20))
        client.flushall()
        eventually(lambda: "no room" in actions(client))
        said = [json.loads(fields[b"line"]) for _, fields in client.xrange(KEY)]  # type: ignore[union-attr]
    (reason,) = [line["reason"] for line in said if line["action"] == "log_stream_away"]
    assert "the rest is for jobs" in reason


def test_the_stream_takes_an_eighth_of_a_small_redis(
    make_redis: Callable[..., RedisServer], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logroom, "MEASURE_BYTES", 2**18)
    server = make_redis(maxmemory="16mb", **{"maxmemory-policy": "noeviction"})
    attach(logger, server.url)
    with server.client() as client:
        for number in range(2000):
            logger.info("x" * 8000 + str(number))
            if number % 400 == 0:
                eventually(lambda number=number: client.xlen(KEY) and actions(client)[-1].endswith(f"x{number}"))
        used: Any = client.memory_usage(KEY, samples=0)
    assert used < 4 * 2**20, "16 MB were written"
