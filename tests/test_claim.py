"""claim.lua: a worker's next batch, each job in it stamped."""

from __future__ import annotations

import pytest
import redis

from imagequeue.errors import Fenced
from imagequeue.job import Job
from imagequeue.jobqueue import JobQueue
from imagequeue.latency import Latency
from tests.support.jobs import (
    LEASE,
    claim,
    end_lease,
    enqueue,
    fill_memory,
    free_memory,
    ids_in,
    job_hash,
    join,
    junk_document,
    make_result,
    reap,
    snapshot,
)


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client)
    join(queue, "w1")
    return queue


def test_a_batch_is_claimed_in_order_up_to_the_limit(queue: JobQueue) -> None:
    jobs = enqueue(queue, 5)
    assert claim(queue, limit=3) == [job.id for job in jobs[:3]]
    assert ids_in(queue, "processing:w1") == [job.id for job in jobs[:3]]
    assert ids_in(queue) == [job.id for job in jobs[3:]]


def test_an_empty_queue_gives_an_empty_batch(queue: JobQueue) -> None:
    assert claim(queue) == []


def test_a_claim_stamps_the_job_and_counts_an_attempt(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue, token="t1")
    held = job_hash(queue, job)
    assert (held["state"], held["token"], held["worker"], held["attempts"]) == ("claimed", "t1", "w1", "1")


def test_a_repeated_claim_returns_the_same_jobs_and_counts_one_attempt(client: redis.Redis, queue: JobQueue) -> None:
    jobs = enqueue(queue, 3)
    first = claim(queue, token="t1", limit=3)
    before = snapshot(client)
    assert claim(queue, token="t1", limit=3) == first == [job.id for job in jobs]
    assert snapshot(client) == before


def test_another_claim_of_the_same_jobs_counts_another_attempt(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue, token="t1")
    claim(queue, token="t2")
    assert job_hash(queue, job)["attempts"] == "2"


def test_what_the_doorbell_moved_is_adopted_before_the_queue_is_asked(client: redis.Redis, queue: JobQueue) -> None:
    jobs = enqueue(queue, 3)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    assert claim(queue, limit=2) == [jobs[0].id, jobs[1].id]


def test_jobs_in_hand_are_not_claimed_again(queue: JobQueue) -> None:
    jobs = enqueue(queue, 4)
    claim(queue, token="t1", limit=2)
    assert claim(queue, token="t2", limit=2, held=2) == [job.id for job in jobs[2:]]
    assert job_hash(queue, jobs[0])["attempts"] == "1"


def test_a_worker_without_a_lease_is_fenced_and_moves_nothing(queue: JobQueue) -> None:
    enqueue(queue, 2)
    with pytest.raises(Fenced):
        claim(queue, "stranger")
    assert queue.depth() == 2


def test_a_claim_extends_the_lease(client: redis.Redis, queue: JobQueue) -> None:
    join(queue, "w2", lease=1.0)
    before = client.zscore(queue.key("workers"), "w2")
    claim(queue, "w2")
    assert client.zscore(queue.key("workers"), "w2") > before + 10_000


def test_a_job_past_its_deadline_is_answered_and_never_returned(client: redis.Redis, queue: JobQueue) -> None:
    (late,) = enqueue(queue)
    client.hset(queue.key(f"job:{late.id}"), "deadline", 1)
    (good,) = enqueue(queue)
    assert claim(queue) == [good.id]
    assert b"deadline_exceeded" in (client.get(queue.key(f"result:{late.id}")) or b"")
    assert ids_in(queue, "processing:w1") == [good.id]
    assert queue.stats()["expired"] == 1


def test_a_cancelled_job_is_never_returned(queue: JobQueue) -> None:
    cancelled, good = enqueue(queue, 2)
    assert queue.cancel(cancelled.id) is None
    assert claim(queue) == [good.id]
    assert ids_in(queue, "processing:w1") == [good.id]


def test_a_document_that_is_none_is_kept_for_people_and_spoils_nothing(client: redis.Redis, queue: JobQueue) -> None:
    client.rpush(queue.name, junk_document())
    (good,) = enqueue(queue)
    assert claim(queue) == [good.id]
    assert b"no job document" in queue.dead()[0]


def test_a_suspect_is_claimed_alone_and_before_the_queue(queue: JobQueue) -> None:
    (suspect,) = enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    waiting = enqueue(queue, 3)
    join(queue, "w2")
    assert claim(queue, "w2", token="a") == [suspect.id]
    queue.complete("w2", "a", [(suspect, make_result(suspect))])
    assert claim(queue, "w2", token="b") == [job.id for job in waiting]


def test_a_repeated_claim_of_a_suspect_still_returns_it_alone(queue: JobQueue) -> None:
    (suspect,) = enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    enqueue(queue, 3)
    join(queue, "w2")
    assert claim(queue, "w2", token="a") == claim(queue, "w2", token="a") == [suspect.id]


def test_a_suspect_waits_while_anything_is_in_hand(queue: JobQueue) -> None:
    (suspect,) = enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    join(queue, "w2")
    (job,) = enqueue(queue)
    queue.client.lmove(queue.name, queue.key("processing:w2"), "LEFT", "RIGHT")
    assert claim(queue, "w2", token="a") == [job.id]
    assert ids_in(queue, "suspect") == [suspect.id]


def test_at_maxmemory_a_claim_still_drains_the_queue(client: redis.Redis, queue: JobQueue) -> None:
    jobs = enqueue(queue, 3)
    claim(queue, token="warm", limit=1)
    fill_memory(client)
    try:
        assert claim(queue, token="t2") == [job.id for job in jobs]
    finally:
        free_memory(client)


def claim_in_time(queue: JobQueue, model_latency: Latency, *, token: str = "t1", limit: int = 32) -> int:
    """How many jobs come back."""
    return len(queue.claim("w1", lease_seconds=LEASE, token=token, limit=limit, latency=model_latency))


def test_a_job_with_too_little_time_left_is_answered_and_not_returned(client: redis.Redis, queue: JobQueue) -> None:
    (hurried,) = enqueue(queue, timeout=2)
    (patient,) = enqueue(queue, timeout=30)
    batch = queue.claim("w1", lease_seconds=LEASE, token="t1", limit=32, latency=Latency(one=5))
    assert [Job.decode(claimed.document).id for claimed in batch] == [patient.id]
    envelope = client.get(queue.key(f"result:{hurried.id}")) or b""
    assert b"deadline_exceeded" in envelope
    assert b"Too little time was left" in envelope
    assert (queue.stats()["too_late"], queue.stats().get("expired", 0)) == (1, 0)


def test_a_batch_is_no_larger_than_leaves_its_most_urgent_job_in_time(queue: JobQueue) -> None:
    enqueue(queue, 8, timeout=10)
    assert claim_in_time(queue, Latency(one=4, more=1.9)) == 4
    assert queue.depth() == 4
    assert "too_late" not in queue.stats()


def test_what_the_model_is_busy_with_counts(queue: JobQueue) -> None:
    enqueue(queue, 3, timeout=10)
    assert claim_in_time(queue, Latency(one=4, ahead=7)) == 0
    assert queue.stats()["too_late"] == 3


def test_where_nothing_is_known_of_the_model_all_are_returned(queue: JobQueue) -> None:
    enqueue(queue, 3, timeout=1)
    assert claim_in_time(queue, Latency()) == 3


def test_a_claim_that_is_repeated_returns_the_same_jobs_though_time_has_passed(queue: JobQueue) -> None:
    enqueue(queue, 3, timeout=10)
    assert claim_in_time(queue, Latency(one=1)) == 3
    assert claim_in_time(queue, Latency(one=60)) == 3
    assert "too_late" not in queue.stats()


def test_too_late_is_what_the_doorbell_moved_as_well(client: redis.Redis, queue: JobQueue) -> None:
    enqueue(queue, 2, timeout=1)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    assert claim_in_time(queue, Latency(one=2)) == 0
    assert ids_in(queue, "processing:w1") == []


def left(queue: JobQueue) -> list[str]:
    return ids_in(queue)


def test_a_repeated_claim_takes_none_of_those_that_wait(queue: JobQueue) -> None:
    jobs = enqueue(queue, 8, timeout=10)
    latency = Latency(one=4, more=1.9)
    assert [claim_in_time(queue, latency) for _ in range(2)] == [4, 4]
    assert left(queue) == [job.id for job in jobs[4:]]
    assert "too_late" not in queue.stats()


def test_what_a_faster_worker_would_answer_in_time_is_left_to_it_in_its_order(queue: JobQueue) -> None:
    join(queue, "w2")
    queue.claim("w2", lease_seconds=LEASE, token="t0", limit=1, latency=Latency(one=1))
    jobs = enqueue(queue, 40, timeout=5)
    assert claim_in_time(queue, Latency(one=6)) == 0
    assert left(queue) == [job.id for job in jobs]
    assert ids_in(queue, "processing:w1") == []
    batch = queue.claim("w2", lease_seconds=LEASE, token="t2", limit=3, latency=Latency(one=1))
    assert [Job.decode(claimed.document).id for claimed in batch] == [job.id for job in jobs[:3]]


def test_behind_those_for_a_faster_worker_the_others_are_taken(queue: JobQueue) -> None:
    join(queue, "w2")
    queue.claim("w2", lease_seconds=LEASE, token="t0", limit=1, latency=Latency(one=1))
    hurried = enqueue(queue, 3, timeout=5)
    patient = enqueue(queue, 3, timeout=60)
    batch = queue.claim("w1", lease_seconds=LEASE, token="t1", limit=32, latency=Latency(one=6))
    assert [Job.decode(claimed.document).id for claimed in batch] == [job.id for job in patient]
    assert left(queue) == [job.id for job in hurried]


def test_where_no_live_worker_is_fast_enough_the_job_is_answered(queue: JobQueue) -> None:
    join(queue, "w2", "w3")
    for worker, one in (("w2", 7), ("w3", 1)):
        queue.claim(worker, lease_seconds=LEASE, token="t0", limit=1, latency=Latency(one=one))
    end_lease(queue, "w3")
    enqueue(queue, 3, timeout=5)
    assert claim_in_time(queue, Latency(one=6)) == 0
    assert queue.stats()["too_late"] == 3


def test_a_batch_ends_before_a_job_that_is_in_time_in_one_of_its_own(queue: JobQueue) -> None:
    patient = enqueue(queue, 5, timeout=100)
    (hurried,) = enqueue(queue, timeout=3)
    enqueue(queue, 2, timeout=100)
    latency = Latency(one=1, more=0.5)
    assert claim_in_time(queue, latency) == len(patient)
    assert left(queue)[0] == hurried.id
    assert "too_late" not in queue.stats()
    batch = queue.claim("w1", lease_seconds=LEASE, token="t2", limit=32, held=5, latency=latency)
    assert Job.decode(batch[0].document).id == hurried.id


def test_jobs_that_nobody_waits_for_are_claimed_behind_the_others(queue: JobQueue) -> None:
    first, *bulk = enqueue(queue, 4, reply_to="")
    waited_for = enqueue(queue, 3)
    assert ids_in(queue, "bulk") == [job.id for job in bulk], "the first found the queue empty"
    expected = [job.id for job in (first, *waited_for, *bulk)]
    assert claim(queue, limit=5) == expected[:5]
    assert claim(queue, token="t2", limit=5, held=5) == expected[5:]


def test_jobs_that_nobody_waits_for_get_one_place_in_sixteen(queue: JobQueue) -> None:
    waited_for = {job.id for job in enqueue(queue, 160)}
    bulk = [job.id for job in enqueue(queue, 20, reply_to="")]
    claimed: list[str] = []
    for number in range(20):
        claimed += claim(queue, token=f"t{number}", limit=8, held=len(claimed))
    assert [job for job in claimed if job not in waited_for] == bulk[:9]
    assert queue.depth() == 20
