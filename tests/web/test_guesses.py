"""Wrong API keys: the first few are told so, the next ones to wait, and a right key works all along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from imagequeue.web.access import Access
from imagequeue.web.guesses import MOST, MOST_CLIENTS, RATE, WINDOW_SECONDS, Guesses
from imagequeue.web.keys import ApiKeys
from imagequeue.web.ratelimit import RateLimit
from tests.support.inprocess import Service
from tests.support.redisserver import RedisServer, free_port

MakeService = Callable[..., Service]
KEYS = ApiKeys([("alice", "correct-horse")])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def ask(service: Service, key: str = "", address: str = "198.51.100.1") -> Any:
    headers = {"X-Forwarded-For": address} | ({"X-API-Key": key} if key else {})
    return service.client.get("/stats", headers=headers)


@pytest.fixture
def guarded(each_redis: RedisServer, make_service: MakeService) -> Callable[..., Service]:
    def make(url: str = each_redis.url) -> Service:
        shared = RateLimit(RATE, redis_url=url, queue_name="image_queue")
        access = Access(keys=KEYS, guesses=Guesses(shared), trusted_proxies=1)
        return make_service(access=access, with_worker=False)

    return make


def test_after_a_few_wrong_keys_the_next_ones_are_told_to_wait(guarded: Callable[..., Service]) -> None:
    service = guarded()
    assert [ask(service, f"wrong-{n}").status_code for n in range(MOST)] == [401] * MOST
    refused = ask(service, "wrong-again")
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 2 * WINDOW_SECONDS
    assert "WWW-Authenticate" not in refused.headers


def test_a_right_key_works_from_the_same_address_and_elsewhere_nobody_waits(guarded: Callable[..., Service]) -> None:
    service = guarded()
    for n in range(MOST + 5):
        ask(service, f"wrong-{n}")
    assert ask(service, "correct-horse").status_code == 200
    assert ask(service, "wrong").status_code == 429
    assert ask(service, "wrong", "198.51.100.2").status_code == 401
    # Who sends no key guesses nothing.
    assert ask(service).status_code == 401


def test_the_addresses_of_one_ipv6_network_guess_together(guarded: Callable[..., Service]) -> None:
    service = guarded()
    statuses = [ask(service, "wrong", f"2001:db8:1:2::{n}").status_code for n in range(MOST + 1)]
    assert statuses == [401] * MOST + [429]
    assert ask(service, "wrong", "2001:db8:1:3::1").status_code == 401


def test_several_servers_count_together_and_what_is_counted_has_a_time_to_live(
    guarded: Callable[..., Service], client: redis.Redis
) -> None:
    services = [guarded(), guarded()]
    assert [ask(services[n % 2], "wrong").status_code for n in range(MOST)] == [401] * MOST
    assert [ask(service, "wrong").status_code for service in services] == [429, 429]
    counted = client.keys("image_queue:limits*")
    assert counted
    assert all(0 < client.ttl(key) <= 120 for key in counted)


def test_without_redis_each_process_counts_by_itself() -> None:
    guesses = Guesses(RateLimit(RATE, redis_url=f"redis://127.0.0.1:{free_port()}/0", queue_name="image_queue"))
    assert [guesses.count("198.51.100.1") for _ in range(MOST)] == [0] * MOST
    assert guesses.count("198.51.100.1") > 0


def test_it_ends_with_the_window() -> None:
    clock = Clock()
    guesses = Guesses(clock=clock)
    assert [bool(guesses.count("a")) for _ in range(MOST + 1)] == [False] * MOST + [True]
    clock.now += 20
    assert guesses.count("a") == WINDOW_SECONDS - 20
    clock.now += 40
    assert guesses.count("a") == 0


def test_a_client_that_waits_costs_redis_nothing() -> None:
    asked: list[str] = []

    class Counting:
        def count(self, client: str) -> None:
            asked.append(client)

    guesses = Guesses(Counting())  # type: ignore[arg-type]
    for _ in range(10 * MOST):
        guesses.count("a")
    assert asked == ["guesses:a"] * MOST


def test_many_guess_at_once() -> None:
    guesses, seconds = Guesses(clock=Clock()), []
    threads = [
        threading.Thread(target=lambda: seconds.extend(guesses.count("a") for _ in range(MOST))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seconds.count(0) == MOST


def test_the_clients_that_are_remembered_are_bounded() -> None:
    guesses = Guesses(clock=Clock())
    for n in range(3 * MOST_CLIENTS):
        guesses.count(str(n))
    assert len(guesses._windows) == MOST_CLIENTS


def test_the_log_has_one_line_of_a_window_and_no_key(
    guarded: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="imagequeue")
    service = guarded()
    for n in range(5 * MOST):
        ask(service, f"secret-guess-{n}", "2001:db8:1:2::7")
    lines = [(record.msg, getattr(record, "fields", {})) for record in caplog.records]
    (told,) = [fields for action, fields in lines if action == "keys_guessed"]
    assert told["client"] == "2001:db8:1:2::/64"
    refused = [fields["status"] for action, fields in lines if action == "refused"]
    assert refused == [401] * MOST
    assert "secret-guess" not in repr(lines)
