"""The overview tells the truth about the queue, at the cost of one command for all who look."""

from __future__ import annotations

import pytest
import redis

from imagequeue.jobqueue import JobQueue
from imagequeue.latency import Busy
from imagequeue.overview import FRESH_SECONDS, Lookout, Overview, look
from tests.support.jobs import claim, end_lease, enqueue, join, make_result, reap


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def test_an_empty_queue_has_nothing_to_show(queue: JobQueue) -> None:
    overview = look(queue)
    assert (overview.depth, overview.suspects, overview.oldest_age, overview.dead) == (0, 0, 0.0, 0)
    assert overview.workers == ()
    assert overview.batch_sizes == {}
    assert set(overview.counters.values()) == {0}
    assert overview.drained_per_s == 0.0


def test_looking_changes_nothing(queue: JobQueue) -> None:
    join(queue, "w1")
    enqueue(queue, 3)
    before = {key: queue.client.dump(key) for key in queue.client.keys("*")}
    look(queue)
    assert {key: queue.client.dump(key) for key in queue.client.keys("*")} == before


def test_it_counts_what_waits_and_how_long_the_oldest_has_waited(queue: JobQueue) -> None:
    first, *_ = enqueue(queue, 3)
    queue.client.hincrby(queue.key(f"job:{first.id}"), "enqueued", -5000)
    overview = look(queue)
    assert overview.depth == 3
    assert 5.0 <= overview.oldest_age < 10.0
    assert overview.counters["enqueued"] == 3


def test_a_suspect_waits_too_and_may_be_the_oldest(queue: JobQueue) -> None:
    join(queue, "w1")
    (job,) = enqueue(queue, 1)
    claim(queue, "w1")
    end_lease(queue, "w1")
    reap(queue)
    queue.client.hincrby(queue.key(f"job:{job.id}"), "enqueued", -7000)
    enqueue(queue, 1)
    overview = look(queue)
    assert (overview.depth, overview.suspects) == (1, 1)
    assert overview.oldest_age >= 7.0
    assert overview.counters["crashes"] == 1


def test_workers_show_what_they_said_of_themselves_and_what_is_left_of_their_lease(queue: JobQueue) -> None:
    queue.join("host:7:abc", 30.0, {"host": "inf", "pid": 7, "model": "null", "max_batch": 4})
    queue.join("host:8:abc", 30.0, {"host": "host", "pid": 8})
    end_lease(queue, "host:8:abc")
    jobs = enqueue(queue, 2)
    claim(queue, "host:7:abc")
    queue.complete("host:7:abc", "t1", [(job, make_result(job)) for job in jobs])
    overview = look(queue)
    late, live = overview.workers
    assert (live.id, late.id) == ("host:7:abc", "host:8:abc")
    assert dict(live.facts) == {
        "host": "inf",
        "pid": 7,
        "model": "null",
        "max_batch": 4,
        "images": 2,
        "last_batch": 2,
    }
    assert 0 < live.lease_left <= 30.0
    assert live.is_live
    assert not late.is_live
    assert overview.live_workers == 1


def test_batches_are_counted_by_their_size_in_order(queue: JobQueue) -> None:
    join(queue, "w1")
    for number, size in enumerate((2, 11, 2)):
        jobs = enqueue(queue, size)
        claim(queue, "w1", token=f"t{number}")
        queue.complete("w1", f"t{number}", [(job, make_result(job)) for job in jobs])
    overview = look(queue)
    assert list(overview.batch_sizes.items()) == [(2, 2), (11, 1)]
    assert overview.counters["completed"] == 15


def test_a_new_job_waits_as_long_as_all_live_workers_take_for_those_that_wait(queue: JobQueue) -> None:
    join(queue, "w1", "w2")
    jobs = enqueue(queue, 10)
    claim(queue, "w1", limit=4)
    assert look(queue).wait == 0, "nothing is known yet"
    queue.complete("w1", "t1", [(job, make_result(job)) for job in jobs[:4]], busy=Busy(2.0))
    assert (look(queue).drained_per_s, look(queue).wait) == (4.0, 1.5), "half a second for each, and two workers"
    end_lease(queue, "w2")
    assert (look(queue).drained_per_s, look(queue).wait) == (2.0, 3.0)


def test_a_batch_that_is_completed_twice_counts_once(queue: JobQueue) -> None:
    join(queue, "w1")
    jobs = enqueue(queue, 2)
    claim(queue, "w1")
    for _ in range(2):
        queue.complete("w1", "t1", [(job, make_result(job)) for job in jobs])
    assert look(queue).batch_sizes == {2: 1}


def test_a_document_at_the_head_that_is_none_has_no_age(queue: JobQueue) -> None:
    queue.client.rpush(queue.name, b"no job document")
    assert look(queue).oldest_age == 0.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def overview_at(at: float, enqueued: int) -> Overview:
    return Overview(at, 0, 0, 0.0, 0, (), {"enqueued": enqueued}, {}, 0.0)


def test_many_looks_within_half_a_second_ask_once() -> None:
    clock, asked = Clock(), []

    def ask() -> Overview:
        asked.append(clock.now)
        return overview_at(clock.now, 0)

    lookout = Lookout(ask, clock=clock)
    for _ in range(100):
        lookout.latest()
    clock.now += FRESH_SECONDS
    lookout.latest()
    assert asked == [1000.0, 1000.0 + FRESH_SECONDS]


def test_a_rate_needs_two_looks_and_forgets_what_is_long_ago() -> None:
    clock = Clock()
    counts = iter((0, 1000, 1000, 1050))
    lookout = Lookout(lambda: overview_at(clock.now, next(counts)), clock=clock)
    lookout.latest()
    assert lookout.rate("enqueued") is None
    clock.now += 5
    lookout.latest()
    assert lookout.rate("enqueued") == 200.0
    for _ in range(2):
        clock.now += 10
        lookout.latest()
    assert lookout.rate("enqueued") == 5.0


def test_counters_that_were_lost_give_no_negative_rate() -> None:
    clock = Clock()
    counts = iter((500, 3))
    lookout = Lookout(lambda: overview_at(clock.now, next(counts)), clock=clock)
    lookout.latest()
    clock.now += 1
    lookout.latest()
    assert lookout.rate("enqueued") == 0.0


def test_a_failed_look_is_not_kept() -> None:
    answers = iter((redis.ConnectionError(), overview_at(1.0, 1)))

    def ask() -> Overview:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    lookout = Lookout(ask)
    with pytest.raises(redis.ConnectionError):
        lookout.latest()
    assert lookout.latest().counters["enqueued"] == 1
