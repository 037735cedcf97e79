"""The lease: renewed while the loop is alive, lost when it is not, and never two lives under one id."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from imagequeue.connections import host_name
from imagequeue.errors import Fenced, RedisDown
from imagequeue.lease import STALLED_EXIT_CODE, Lease, owner_name
from tests.support.system import eventually


class FakeQueue:
    """Counts what a lease asks of the queue, and answers what the test says."""

    def __init__(self) -> None:
        self.joined: list[tuple[str, float, dict[str, object]]] = []
        self.beats: list[str] = []
        self.answer: Exception | None = None

    def join(self, worker_id: str, seconds: float, facts: dict[str, object]) -> None:
        if self.answer is not None:
            raise self.answer
        self.joined.append((worker_id, seconds, facts))

    def heartbeat(self, worker_id: str, seconds: float) -> None:
        self.beats.append(worker_id)
        if self.answer is not None:
            raise self.answer


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def make_lease(queue: FakeQueue) -> Iterator[Callable[..., Lease]]:
    leases: list[Lease] = []

    def make(seconds: float = 0.3, exits: list[int] | None = None) -> Lease:
        exit_process = [] if exits is None else exits
        leases.append(Lease(queue, seconds=seconds, facts={"host": "x"}, exit_process=exit_process.append))  # type: ignore[arg-type]
        return leases[-1]

    yield make
    for lease in leases:
        lease.stop()


def test_before_it_is_taken_there_is_none(make_lease: Callable[..., Lease]) -> None:
    lease = make_lease()
    assert (lease.worker_id, lease.is_fenced) == ("", True)


def test_taking_it_joins_under_an_id_of_this_process_that_no_other_life_had(
    make_lease: Callable[..., Lease], queue: FakeQueue
) -> None:
    lease = make_lease(seconds=60)
    ids = []
    for _ in range(3):
        lease.take()
        ids.append(lease.worker_id)
        assert not lease.is_fenced
        lease.fence()
    assert len(set(ids)) == 3
    assert owner_name(os.getpid()) == f"{host_name()}:{os.getpid()}"
    assert all(worker_id.startswith(f"{owner_name(os.getpid())}:") for worker_id in ids)
    assert queue.joined == [(worker_id, 60, {"host": "x"}) for worker_id in ids]


def test_without_redis_none_is_taken(make_lease: Callable[..., Lease], queue: FakeQueue) -> None:
    lease, queue.answer = make_lease(), RedisDown("away")
    with pytest.raises(RedisDown):
        lease.take()
    assert (lease.worker_id, lease.is_fenced) == ("", True)


def test_it_is_renewed_while_the_loop_ticks(make_lease: Callable[..., Lease], queue: FakeQueue) -> None:
    lease = make_lease()
    lease.take()

    def ticked_and_renewed() -> bool:
        lease.tick()
        return len(queue.beats) >= 5

    eventually(ticked_and_renewed)
    assert set(queue.beats) == {lease.worker_id}
    assert not lease.is_fenced


def test_a_loop_that_stands_still_is_not_renewed_and_ends_the_process(
    make_lease: Callable[..., Lease], queue: FakeQueue
) -> None:
    exits: list[int] = []
    make_lease(exits=exits).take()
    eventually(lambda: exits)
    assert exits == [STALLED_EXIT_CODE]
    assert len(queue.beats) <= 3, "for one lease at most, every third of it"


def test_one_that_was_given_to_others_is_fenced(make_lease: Callable[..., Lease], queue: FakeQueue) -> None:
    lease, queue.answer = make_lease(), None
    lease.take()
    queue.answer = Fenced("no lease")
    eventually(lambda: lease.is_fenced)


def test_a_redis_that_is_away_does_not_fence_and_is_asked_again(
    make_lease: Callable[..., Lease], queue: FakeQueue
) -> None:
    lease = make_lease()
    lease.take()
    queue.answer = RedisDown("away")

    def asked_often() -> bool:
        lease.tick()
        return len(queue.beats) >= 4

    eventually(asked_often)
    assert not lease.is_fenced


def test_after_a_stop_nothing_is_renewed(make_lease: Callable[..., Lease], queue: FakeQueue) -> None:
    lease = make_lease()
    lease.take()
    lease.stop()
    assert lease._thread is not None
    assert not lease._thread.is_alive()
