"""The accounts of a soak: a broken promise is seen, and a fair dice is thrown."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from bench.gallery import open_gallery
from bench.tally import Publications, Tally, broken_promises, left_behind
from imagequeue.jobqueue import JobQueue
from imagequeue.model import load
from tests.support.jobs import claim, enqueue, join, make_result
from tests.support.redisserver import RedisServer
from tests.support.system import eventually

GOOD: dict[str, Any] = {
    "lost": 0,
    "answered_twice": 0,
    "wrong": 0,
    "left": {"waiting": 0, "held": 0},
    "recovery": {"max": 6.0, "limit": 10.0},
    "exits": {"0": 4, "-9": 8},
    "web_deaths": 0,
}


def test_a_report_without_fault_breaks_no_promise() -> None:
    assert broken_promises(GOOD) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"lost": 1},
        {"answered_twice": 1},
        {"wrong": 1},
        {"left": {"waiting": 0, "held": 1}},
        {"recovery": {"max": 10.1, "limit": 10.0}},
        {"exits": {"1": 1}},
        {"web_deaths": 1},
    ],
    ids=str,
)
def test_each_fault_breaks_a_promise(fault: dict[str, Any]) -> None:
    assert len(broken_promises(GOOD | fault)) == 1


def test_recovery_counts_from_the_last_death_and_only_for_what_was_answered_after_it() -> None:
    tally = Tally()
    now = time.monotonic()
    tally.answer("early")
    tally.worker_died(now - 9, ["twice", "unanswered"])
    tally.worker_died(now - 3, ["twice"])
    tally.worker_died(now + 60, ["early"])
    tally.answer("twice")
    (seconds,) = tally.recoveries()
    assert 3 <= seconds < 9


def test_an_id_that_two_answers_carry_is_noticed() -> None:
    tally = Tally()
    for job_id in ("a", "b", "a"):
        tally.answer(job_id)
    assert tally.answered_again == ["a"]


def test_a_result_that_is_published_twice_is_heard_twice(client: redis.Redis, each_redis: RedisServer) -> None:
    heard = Publications(each_redis.client, "image_queue")
    channel = "{image_queue}:results:web-1"
    eventually(lambda: client.pubsub_numpat() == 1)
    for job_id in ("a" * 32, "b" * 32, "a" * 32):
        client.publish(channel, f'{{"id":"{job_id}","predictions":[]}}')
    eventually(lambda: heard.heard.total() == 3)
    assert heard.stop() == ["a" * 32]


def test_what_is_left_behind_is_found_wherever_it_lies(client: redis.Redis) -> None:
    queue = JobQueue(client, "image_queue")
    join(queue, "w1")
    jobs = enqueue(queue, 3)
    claim(queue, "w1", limit=2)
    assert left_behind(queue) == {"waiting": 1, "suspects": 0, "held": 2, "unaccounted": 3}
    queue.complete("w1", "t1", [(job, make_result(job)) for job in jobs[:2]])
    assert left_behind(queue) == {"waiting": 1, "suspects": 0, "held": 0, "unaccounted": 1}
    queue.cancel(jobs[2].id)
    assert claim(queue, "w1", token="t2") == []
    assert left_behind(queue) == {"waiting": 0, "suspects": 0, "held": 0, "unaccounted": 1}
    assert not any(left_behind(queue, refused_in_doubt=1).values())


def test_the_gallery_has_the_share_of_poison_that_is_asked_for_and_its_classes_are_nobody_elses() -> None:
    model = load("null", weights="random", labels="imagenet", size=(224, 224), preprocessing="auto", threads=1)
    gallery = open_gallery(model)
    assert len(gallery.innocent) > 50
    assert not {gallery.killer.index, gallery.raiser.index} & {p.index for p in gallery.innocent}
    picked = [gallery.pick(number, 0.05, 0.1) for number in range(20_000)]
    assert picked == [gallery.pick(number, 0.05, 0.1) for number in range(20_000)]
    assert sum(map(gallery.is_poison, picked)) == pytest.approx(1000, rel=0.2)
    assert picked.count(gallery.killer) == pytest.approx(100, rel=0.5)
