"""Equal images are computed once, and nobody waits for an answer that will not come."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from imagequeue.errors import BadImage, DeadlineExceeded
from imagequeue.job import Prediction, Result
from imagequeue.ticket import Ticket
from imagequeue.waiter import Waiter
from imagequeue.web import cache as cache_module
from imagequeue.web.cache import Entry, Lead, ResultCache
from tests.support.inprocess import Service
from tests.support.jobs import join
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import eventually

RESULT = Result("a" * 32, (Prediction("castle", 0.9, 483),), facts={"model": "m", "queued_ms": 9, "batch": 3})


def soon() -> float:
    return time.monotonic() + 20


def test_the_second_who_asks_gets_the_firsts_answer_without_its_way() -> None:
    cache = ResultCache(60)
    entry, lead = cache.enter(b"image", 5)
    same, nobody = cache.enter(b"image", 5)
    assert lead is not None
    assert nobody is None
    assert same is entry
    lead.settle(RESULT)
    found = same.wait(soon())
    assert found.predictions == RESULT.predictions
    assert found.facts == {"model": "m"}


def test_other_bytes_and_another_top_are_other_questions() -> None:
    cache = ResultCache(60)
    assert all(cache.enter(upload, top)[1] for upload, top in ((b"a", 5), (b"b", 5), (b"a", 3)))


def test_each_owner_has_entries_of_its_own() -> None:
    cache = ResultCache(60)
    assert [cache.enter(b"a", 5, owner)[1] is None for owner in ("ann", "bob", "ann", "bob")] == [
        False,
        False,
        True,
        True,
    ]


def test_an_answer_counts_for_so_long_and_no_longer() -> None:
    now = [100.0]
    cache = ResultCache(10, clock=lambda: now[0])
    _, lead = cache.enter(b"a", 5)
    assert lead is not None
    now[0] += 1000
    assert cache.enter(b"a", 5)[1] is None, "it is still on its way"
    lead.settle(RESULT)
    now[0] += 9
    assert cache.enter(b"a", 5)[1] is None
    now[0] += 2
    assert cache.enter(b"a", 5)[1] is not None


def test_an_error_is_told_to_those_who_wait_and_to_nobody_later() -> None:
    cache = ResultCache(60)
    entry, lead = cache.enter(b"a", 5)
    assert lead is not None
    lead.settle(error=BadImage("no image"))
    lead.settle(RESULT)
    with pytest.raises(BadImage):
        entry.wait(soon())
    assert cache.enter(b"a", 5)[1] is not None


@pytest.mark.parametrize("error", [None, DeadlineExceeded("its own deadline")])
def test_a_request_that_ends_without_an_answer_leaves_the_computing_to_the_next(error: DeadlineExceeded | None) -> None:
    cache = ResultCache(60)
    entry, lead = cache.enter(b"a", 5)
    assert lead is not None
    lead.settle(error=error)
    assert entry.is_given_up(soon())
    assert cache.enter(b"a", 5)[1] is not None


@pytest.mark.parametrize("error", [None, BadImage("no image")])
def test_an_answer_and_an_error_of_the_images_are_nothing_to_try_again(error: BadImage | None) -> None:
    entry, lead = ResultCache(60).enter(b"a", 5)
    assert lead is not None
    lead.settle(None if error else RESULT, error)
    assert not entry.is_given_up(soon())


def test_who_waits_has_a_deadline_of_his_own() -> None:
    entry, _ = ResultCache(60).enter(b"a", 5)
    assert not entry.is_given_up(time.monotonic() + 0.01)
    with pytest.raises(DeadlineExceeded):
        entry.wait(time.monotonic())


def test_it_is_bounded_and_forgets_what_was_asked_least_recently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MOST_ENTRIES", 2)
    cache = ResultCache(60)
    for upload in (b"a", b"b", b"a", b"c"):
        cache.enter(upload, 5)
    assert [cache.enter(upload, 5)[1] is None for upload in (b"a", b"c", b"b")] == [True, True, False]


@pytest.fixture
def make_service(each_redis: RedisServer, client: redis.Redis) -> Iterator[Callable[..., Service]]:
    running: list[Service] = []

    def make(**options: object) -> Service:
        running.append(Service(each_redis.url, cache_seconds=60.0, **options))
        return running[-1]

    yield make
    for service in running:
        service.stop()


def send(service: Service, *uploads: bytes):  # type: ignore[no-untyped-def]
    return service.app.test_client().post("/predict", data={"image": [(io.BytesIO(u), "a.png") for u in uploads]})


def test_equal_images_at_once_and_later_are_enqueued_once(make_service: Callable[..., Service]) -> None:
    service = make_service(with_worker=False)
    service.start_worker()
    image, answers = picture(1), []
    threads = [threading.Thread(target=lambda: answers.append(send(service, image))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.append(send(service, image))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert service.queue.stats()["enqueued"] == 1
    send(service, picture(2))
    assert service.queue.stats()["enqueued"] == 2


def test_equal_images_in_one_request_are_computed_once(make_service: Callable[..., Service]) -> None:
    service = make_service()
    answer = send(service, picture(1), picture(2), picture(1), b"no image", b"no image")
    results = answer.json["results"]
    assert results[0] == results[2] != results[1]
    assert [r["error"]["code"] for r in results[3:]] == ["bad_image", "bad_image"]
    assert service.queue.stats()["enqueued"] == 2


def test_when_the_first_is_refused_the_others_are_told_and_the_next_one_tries_again(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(with_worker=False)
    assert send(service, picture(1)).status_code == 503
    service.start_worker()
    eventually(lambda: send(service, picture(1)).status_code == 200)


def test_when_the_first_meets_its_deadline_one_of_the_others_computes_it_for_all_that_have_more_time(
    make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(with_worker=False, timeout=20.0)
    # Alive, as far as the queue knows, and without a hand free.
    join(service.queue, "busy")
    image, first, others, followers = picture(1), [], [], []
    enter, wait = ResultCache.enter, Waiter.wait

    def enter_and_tell(cache: ResultCache, upload: bytes, top: int, owner: str) -> tuple[Entry, Lead | None]:
        entry, lead = enter(cache, upload, top, owner)
        if lead is None:
            followers.append(entry)
        return entry, lead

    def wait_until_followed(waiter: Waiter, ticket: Ticket, until: float) -> Result:
        if threading.current_thread().name == "first":
            # Its time is over as soon as both others count on it.
            eventually(lambda: len(followers) == 2)
            until = time.monotonic()
        return wait(waiter, ticket, until)

    def start(name: str, answers: list, *uploads: bytes) -> threading.Thread:  # type: ignore[type-arg]
        thread = threading.Thread(target=lambda: answers.append(send(service, *uploads)), name=name)
        thread.start()
        return thread

    monkeypatch.setattr(ResultCache, "enter", enter_and_tell)
    monkeypatch.setattr(Waiter, "wait", wait_until_followed)
    threads = [start("first", first, image)]
    eventually(lambda: service.queue.depth() == 1)
    threads += [start("alone", others, image), start("together", others, picture(2), image)]
    eventually(lambda: first and service.queue.stats()["enqueued"] == 3)
    service.start_worker()
    for thread in threads:
        thread.join()
    assert first[0].status_code == 504
    assert [answer.status_code for answer in others] == [200, 200]
    bodies = [answer.json for answer in others]
    (alone,) = [body for body in bodies if "predictions" in body]
    (together,) = [body for body in bodies if "results" in body]
    assert together["results"][1]["id"] == alone["id"]
    assert service.queue.stats()["enqueued"] == 3
