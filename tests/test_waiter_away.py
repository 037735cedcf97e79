"""For how long Redis counts as away: by what was heard of it, and by nothing that only happens on this side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import redis

from imagequeue import waiter as waiter_module
from imagequeue.connections import connect
from imagequeue.jobqueue import JobQueue
from imagequeue.waiter import Waiter
from tests.support.redisserver import RedisServer
from tests.support.system import eventually

SUBSCRIPTION = "web:waiter"
INTERVAL = 10.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The waiter's time, which stands still unless a test moves its `now`."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(waiter_module, "time", clock)
    return clock


@pytest.fixture
def make_waiter() -> Iterator[Callable[[RedisServer], Waiter]]:
    waiters: list[Waiter] = []

    def make(server: RedisServer) -> Waiter:
        queue = JobQueue(connect(server.url, name="web", size=1))
        subscription = connect(server.url, name=SUBSCRIPTION, repeats=0)
        waiters.append(Waiter(queue, subscription, "web-1", poll_interval=INTERVAL, beat=0.5))
        waiters[-1].start()
        return waiters[-1]

    yield make
    for waiter in waiters:
        waiter.stop()


def test_a_thread_that_is_held_up_does_not_take_it_for_a_silence_of_redis(
    make_waiter: Callable[[RedisServer], Waiter],
    each_redis: RedisServer,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_asked, held_up, heard = threading.Event(), threading.Event(), threading.Event()
    can_read, send_command = redis.Connection.can_read, redis.Connection.send_command

    def send(self: redis.Connection, *args: object, **options: object) -> None:
        send_command(self, *args, **options)
        if "PING" in args:
            is_asked.set()

    def look(self: redis.Connection, timeout: float = 0) -> bool:
        if self.client_name != SUBSCRIPTION or not is_asked.is_set() or heard.is_set():
            return can_read(self, timeout)
        if not held_up.is_set():
            # It looked a moment before the PONG came, and got the processor again when a silence would be a break.
            clock.now += 2 * waiter_module.SILENT_BEATS * INTERVAL
            held_up.set()
            return False
        # However long the PONG takes here.
        is_there = can_read(self, 20)
        heard.set()
        return is_there

    waiter = make_waiter(each_redis)
    eventually(lambda: waiter.is_subscribed)
    monkeypatch.setattr(redis.Connection, "send_command", send)
    monkeypatch.setattr(redis.Connection, "can_read", look)
    # Time to ask.
    clock.now += INTERVAL
    assert heard.wait(20)
    assert held_up.is_set()
    assert waiter.is_subscribed
    assert "subscription_lost" not in caplog.text


def test_a_redis_that_answers_and_does_not_let_anybody_subscribe_is_not_away(
    make_redis: Callable[..., RedisServer], make_waiter: Callable[[RedisServer], Waiter], clock: SimpleNamespace
) -> None:
    server = make_redis()
    with server.client() as admin:
        admin.acl_setuser("default", enabled=True, nopass=True, keys="*", categories=["+@all"], commands=["-subscribe"])

        def refused() -> int:
            return int(admin.info("commandstats").get("cmdstat_subscribe", {}).get("rejected_calls", 0))

        waiter = make_waiter(server)
        for _ in range(2):
            so_far = refused()
            clock.now += 100
            # The first of them may have been greeted before.
            eventually(lambda so_far=so_far: refused() >= so_far + 2)
            assert waiter.seconds_away() == 0
        assert not waiter.is_subscribed


def test_seconds_away_counts_only_without_a_subscription_and_from_redis_last_answer(
    make_redis: Callable[..., RedisServer],
    make_waiter: Callable[[RedisServer], Waiter],
    clock: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = make_redis()
    waiter = make_waiter(server)
    eventually(lambda: waiter.is_subscribed)
    clock.now += 1
    assert waiter.seconds_away() == 0

    def in_vain() -> int:
        return caplog.text.count("subscription_lost")

    server.kill()
    eventually(lambda: not waiter.is_subscribed)
    so_far = in_vain()
    clock.now += 100
    eventually(lambda: in_vain() >= so_far + 3)
    assert waiter.seconds_away() >= 100, "an attempt is no answer"
    waiter.redis_answered()
    assert waiter.seconds_away() == 0
    clock.now += 100
    assert waiter.seconds_away() == 100
    server.start()
    eventually(lambda: waiter.is_subscribed)
    assert waiter.seconds_away() == 0
