"""The queue's scripts in any order: three workers, their deaths, their clients, and calls that come twice.

Hypothesis draws the order and shrinks what breaks. Nothing sleeps: a lease ends because its score is moved, a
deadline passes because the job's hash says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from imagequeue.errors import JobFailed
from imagequeue.job import Job, Prediction, Result
from tests.support.checkedqueue import LONG, WEBS, CheckedQueue

MAX_DEAD = 1
MAX_CRASHES = 2
# What a worker may bring of its batch, other than all of it.
PARTS = {"first": slice(1), "last": slice(-1, None), "outer": slice(None, None, 2), "reversed": slice(None, None, -1)}

parts = st.sampled_from([*PARTS, "all"])
workers = st.integers(0, 2)
numbers = st.integers(0, 30)
maybe = st.booleans()


@dataclass
class Hand:
    """What a worker process knows: its id of now, and the jobs it claimed, each with its claim's token."""

    worker_id: str = ""
    batch: list[tuple[str, Job]] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """One example: three workers, a batch in hand, two jobs waiting, some steps, and the drain of all that is left."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.it = CheckedQueue(client, MAX_DEAD)
        self.model = self.it.model
        self.names = 0
        self.late_hands: list[Hand] = []
        self.hands = [self.joined() for _ in range(3)]
        for web in WEBS * 3:
            self.it.enqueue(web)
        # Most of what goes wrong takes a batch in hand.
        self.claim(0, 4, False, False)
        self.is_broken = False

    def new_name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def joined(self, again: bool = False) -> Hand:
        hand = Hand(self.new_name("worker"))
        self.it.send(lambda queue: queue.join(hand.worker_id, LONG, {"host": "test"}), again=again)
        return hand

    def retire(self, worker: int) -> None:
        """This incarnation is over; what it had in hand it may still bring."""
        if self.hands[worker].batch:
            self.late_hands.append(self.hands[worker])
        self.hands[worker] = Hand()

    def holder(self, number: int, is_late: bool) -> Hand:
        """A worker with jobs in hand: one that believes in its lease, or one that is known to have lost it."""
        holders = [hand for hand in self.hands if hand.batch]
        late = [hand for hand in self.late_hands if hand.batch]
        chosen = (late or holders) if is_late else (holders or late)
        return chosen[number % len(chosen)]

    def someone_holds(self) -> bool:
        return any(hand.batch for hand in (*self.hands, *self.late_hands))

    # Clients.

    @rule(count=st.integers(1, 4), web=st.sampled_from([*WEBS, ""]), is_tight=maybe, needs_worker=maybe, again=maybe)
    def enqueue(self, count: int, web: str, is_tight: bool, needs_worker: bool, again: bool) -> None:
        for _ in range(count):
            self.it.enqueue(web, max_length=3 if is_tight else 1000, needs_worker=needs_worker, again=again)

    @precondition(lambda self: self.it.accepted.keys() - self.it.forgotten)
    @rule(number=numbers, is_told=st.sampled_from([True, True, False]), again=maybe)
    def a_client_gives_up(self, number: int, is_told: bool, again: bool) -> None:
        """At its deadline a job is cancelled, if its web server is still there to do so."""
        known = [job_id for job_id in self.it.accepted if job_id not in self.it.forgotten]
        job_id = known[number % len(known)]
        if is_told:
            self.it.cancel(job_id, again=again)
        elif job_id in self.model.jobs:
            self.it.pass_deadline(job_id)

    @precondition(lambda self: self.model.results)
    @rule(number=numbers)
    def forget(self, number: int) -> None:
        self.it.forget(list(self.model.results)[number % len(self.model.results)])

    @precondition(lambda self: self.model.dead)
    @rule(again=maybe)
    def requeue(self, again: bool) -> None:
        self.it.requeue(again=again)

    # Workers.

    @precondition(lambda self: any(not hand.worker_id for hand in self.hands))
    @rule(again=maybe)
    def join(self, again: bool) -> None:
        worker = next(i for i, hand in enumerate(self.hands) if not hand.worker_id)
        self.hands[worker] = self.joined(again)

    @precondition(lambda self: self.model.waiting and self.model.leases)
    @rule(number=numbers)
    def doorbell(self, number: int) -> None:
        self.it.ring(list(self.model.leases)[number % len(self.model.leases)])

    @precondition(lambda self: self.model.waiting and not all(self.model.gone.values()))
    @rule(number=numbers)
    def late_doorbell(self, number: int) -> None:
        """A BLMOVE that was broken half-way moves a document to a worker that has left."""
        gone = [worker for worker, is_old in self.model.gone.items() if not is_old]
        # Two such lists would be swept in the order in which their owners left, to the millisecond.
        if not any(self.model.processing[worker] for worker in self.model.gone):
            self.it.ring(gone[number % len(gone)])

    def frozen(self) -> list[int]:
        """The workers that were reaped so long ago that nobody looks after their lists, and do not know it yet."""
        known = self.model.leases.keys() | self.model.gone.keys()
        return [n for n, hand in enumerate(self.hands) if hand.worker_id and hand.worker_id not in known]

    @precondition(lambda self: self.model.waiting and self.frozen())
    @rule(number=numbers, beats=maybe, again=maybe)
    def a_frozen_worker_wakes_and_rings(self, number: int, beats: bool, again: bool) -> None:
        worker = self.frozen()[number % len(self.frozen())]
        worker_id = self.hands[worker].worker_id
        if any(self.model.processing[one] for one in self.model.gone):
            return
        self.it.ring(worker_id)
        if beats:
            self.it.send(lambda queue: queue.heartbeat(worker_id, LONG), again=again)
        self.claim(worker, 4, False, again)
        assert not self.hands[worker].worker_id, "it is told that it is fenced"

    @rule(worker=workers, limit=st.integers(1, 4), keeps=maybe, again=maybe)
    def claim(self, worker: int, limit: int, keeps: bool, again: bool) -> None:
        hand, token = self.hands[worker], self.new_name("token")
        held = len(hand.batch) if keeps else 0
        if not hand.worker_id:
            return

        def call(queue: Any) -> object:
            return queue.claim(hand.worker_id, lease_seconds=LONG, token=token, limit=limit, held=held)

        batch = self.it.send(call, again=again)
        if not isinstance(batch, list):
            self.retire(worker)
            return
        hand.batch = hand.batch[:held] + [(token, Job.decode(claimed.document)) for claimed in batch]
        assert len({job.id for _, job in hand.batch}) == len(hand.batch), "nothing is in hand twice"
        assert len(batch) == 1 or not any(claimed.crashes for claimed in batch), "a suspect is computed alone"

    @precondition(lambda self: self.model.waiting)
    @rule(worker=workers, how=parts, claims_again=maybe, again=maybe)
    def batch_is_served(self, worker: int, how: str, claims_again: bool, again: bool) -> None:
        self.claim(worker, 4, False, claims_again)
        self.it.check()
        self.deliver(self.hands[worker], how, again)

    @precondition(lambda self: self.someone_holds())
    @rule(number=numbers, how=parts, is_late=maybe, again=maybe)
    def bring_results(self, number: int, how: str, is_late: bool, again: bool) -> None:
        self.deliver(self.holder(number, is_late), how, again)

    def deliver(self, hand: Hand, how: str, again: bool) -> None:
        """Results with a label of its own for each claim, to tell whose came first."""
        brought = hand.batch[PARTS.get(how, slice(None))]
        if not brought:
            return
        token = brought[0][0]
        results = [(job, Result(id=job.id, predictions=(Prediction(token, 0.5, 1),))) for _, job in brought]
        self.it.send(lambda queue: queue.complete(hand.worker_id, token, results), again=again)
        hand.batch = [held for held in hand.batch if held not in brought]

    @precondition(lambda self: self.someone_holds())
    @rule(number=numbers, is_late=maybe, again=maybe)
    def fail(self, number: int, is_late: bool, again: bool) -> None:
        hand = self.holder(number, is_late)
        _, job = hand.batch.pop(number % len(hand.batch))
        failure = Result(id=job.id, error=JobFailed("x"))
        self.it.send(lambda queue: queue.fail(hand.worker_id, job.id, job.reply_to, failure, "x"), again=again)

    @rule(worker=workers, ends=maybe, again=maybe)
    def renew_lease(self, worker: int, ends: bool, again: bool) -> None:
        """Or fail to, for too long."""
        worker_id = self.hands[worker].worker_id
        if worker_id and not ends:
            self.it.send(lambda queue: queue.heartbeat(worker_id, LONG), again=again)
        elif worker_id in self.model.leases:
            self.it.end_lease(worker_id)

    @rule(worker=workers, again=maybe)
    def release(self, worker: int, again: bool) -> None:
        worker_id = self.hands[worker].worker_id
        if worker_id:
            self.it.send(lambda queue: queue.release(worker_id), again=again)
            self.retire(worker)

    @rule(victim=st.sampled_from([None, None, 0, 1, 2]), is_throttled=maybe, is_minute_later=maybe, again=maybe)
    def reap(self, victim: int | None, is_throttled: bool, is_minute_later: bool, again: bool) -> None:
        victim_id = "" if victim is None else self.hands[victim].worker_id
        if is_minute_later:
            self.it.age_gone()
        if again or not is_throttled:
            self.it.lift_throttle()
        self.it.send(lambda queue: queue.reap(interval=LONG, max_crashes=MAX_CRASHES, victim=victim_id), again=again)

    @rule(number=numbers)
    def repeat_an_old_call(self, number: int) -> None:
        """What a stalled network sends again after others have been served; it is obeyed, and breaks nothing."""
        self.it.send_old_call(number)

    @invariant()
    def nothing_is_lost_or_done_twice(self) -> None:
        self.is_broken = True
        self.it.check()
        self.is_broken = False

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self.drain()
        finally:
            self.it.close()

    def drain(self) -> None:
        """Every worker dies; one that comes after them brings every accepted job its one answer."""
        for worker_id in list(self.model.leases):
            self.it.end_lease(worker_id)
        self.hands[0] = self.joined()
        self.reap(None, False, False, False)
        while self.model.depth or self.model.suspects:
            self.claim(0, 4, False, False)
            self.deliver(self.hands[0], "all", False)
            self.it.check()
        self.it.check()
        assert self.it.answers.keys() == self.it.accepted.keys(), "every accepted job has its answer"
        assert not self.it.state.documents
        assert not self.it.state.jobs


# Only a failure takes so long: what broke is shrunk to a few steps.
@pytest.mark.timeout(900)
def test_whatever_comes_in_whatever_order_each_accepted_job_has_one_answer(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagequeue.jobqueue.MAX_DEAD", MAX_DEAD)
    run_state_machine_as_test(lambda: QueueMachine(client), settings=settings(stateful_step_count=50))
