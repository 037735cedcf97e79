"""A queue that is watched: each call goes to Redis and to a model, and both must agree.

The invariants of docs/protocol.md are checked apart from that, on what Redis holds: the model could be wrong in the
same way as the scripts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis

from imagequeue.errors import ImageQueueError
from imagequeue.job import Job, Result, id_of
from imagequeue.jobqueue import JobQueue
from imagequeue.replies import Reaped
from tests.support.jobs import end_lease, make_job
from tests.support.queuemodel import QueueModel, word_of
from tests.support.queuestate import QueueState

# Seconds; nothing ends by itself while an example runs.
LONG = 3600.0
WEBS = ("web-1", "web-2")

Call = Callable[[Any], object]


def outcome(call: Call, queue: JobQueue | QueueModel) -> object:
    """What a call answers, or the kind of error it raises; without times."""
    try:
        answer = call(queue)
    except ImageQueueError as error:
        return type(error)
    if isinstance(answer, bytes):
        return word_of(Result.decode(answer))
    return [replace(claimed, queued_ms=0, claimed_at=0) for claimed in answer] if isinstance(answer, list) else answer


class CheckedQueue:
    """One empty queue, its model, two web processes' subscriptions, and what became of every job."""

    def __init__(self, client: redis.Redis, max_dead: int) -> None:
        client.flushall()
        self.queue = JobQueue(client, result_ttl=LONG)
        self.model = QueueModel(max_dead)
        self.ear = client.pubsub()
        self.ear.subscribe(*(self.queue.channel(web) for web in WEBS))
        self.sent_jobs = 0
        self.accepted: dict[str, Job] = {}
        self.answers: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.forgotten: set[str] = set()
        self.heard: Counter[str] = Counter()
        # The calls of late, and the job that each is about where it must not come after `forget`.
        self.calls: deque[tuple[Call, str]] = deque(maxlen=20)
        self.state = QueueState(self.queue)

    def close(self) -> None:
        self.ear.close()

    # Calls.

    def send(self, call: Call, *, about: str = "", again: bool = False) -> Any:
        """One call, answered by Redis as by the model; `again`: its first answer was lost, so it is sent twice."""
        # A throttle that only time would lift.
        self.queue.client.delete(self.queue.key("dropping"))
        answer, expected = outcome(call, self.queue), outcome(call, self.model)
        assert answer == expected, f"answered {answer}, and not as the model does: {expected}"
        self.calls.append((call, about))
        if again:
            self.repeat(call, answer)
        return answer

    def repeat(self, call: Call, answer: object) -> None:
        self.check()
        before, heard = self.state.without_times(), self.heard.copy()
        if isinstance(answer, Reaped):
            # Even where no throttle stops it.
            self.queue.client.delete(self.queue.key("reaping"))
        repeated = outcome(call, self.queue)
        assert QueueState(self.queue).without_times() == before, "a repeat changes nothing"
        self.listen()
        assert self.heard == heard, "a repeat publishes nothing"
        if isinstance(answer, list):
            assert repeated == answer, "a repeated claim returns the same batch"

    def new_job(self, web: str) -> Job:
        self.sent_jobs += 1
        return replace(make_job(self.sent_jobs, web), id=f"{self.sent_jobs:032x}")

    def enqueue(self, web: str, *, max_length: int = 1000, needs_worker: bool = False, again: bool = False) -> None:
        job = self.new_job(web)

        def call(queue: Any) -> object:
            accepted = queue.enqueue(
                job,
                timeout=LONG,
                max_length=max_length,
                needs_worker=needs_worker,
            )
            # How fast it drains is the clock's to say.
            return accepted.depth

        since = self.state.now_ms
        answer = self.send(call, about=job.id)
        if not isinstance(answer, int):
            # A refused call that comes again is a new one: there may be room by then, or a worker.
            self.calls.pop()
            return
        self.accepted[job.id] = job
        self.check()
        times = self.state.jobs[job.id]
        assert since <= int(times["enqueued"]) <= self.state.now_ms, "time is Redis's own"
        assert int(times["deadline"]) - int(times["enqueued"]) == LONG * 1000
        if again:
            self.repeat(call, answer)

    def requeue(self, *, again: bool) -> None:
        """The latest of those that were given up."""
        entry: Any = self.queue.client.lindex(self.queue.key("dead"), 0)
        job = self.new_job("")
        self.accepted[job.id] = job
        assert self.send(lambda queue: queue.requeue(entry, job, timeout=LONG), about=job.id, again=again)

    def cancel(self, job_id: str, *, again: bool) -> None:
        def call(queue: Any) -> object:
            return queue.cancel(job_id)

        answer = self.send(call, about=job_id)
        if answer is None:
            self.cancelled.add(job_id)
        if again:
            self.repeat(call, answer)

    def forget(self, job_id: str) -> None:
        """Ten seconds after an answer: no enqueue or cancel of its job is on its way any more."""
        self.forgotten.add(job_id)
        self.calls = deque((entry for entry in self.calls if entry[1] != job_id), maxlen=20)
        self.send(lambda queue: queue.forget([job_id]))

    def send_old_call(self, number: int) -> None:
        call, about = self.calls[number % len(self.calls)]
        if self.send(call, about=about) is None and about in self.accepted:
            self.cancelled.add(about)

    # What happens without a call.

    def ring(self, worker_id: str) -> None:
        """As the doorbell's BLMOVE does."""
        self.queue.client.lmove(self.queue.name, self.queue.key(f"processing:{worker_id}"), "LEFT", "RIGHT")
        self.model.processing[worker_id].append(self.model.waiting.pop(0))

    def end_lease(self, worker_id: str) -> None:
        end_lease(self.queue, worker_id)
        self.model.leases[worker_id] = True

    def pass_deadline(self, job_id: str) -> None:
        self.queue.client.hset(self.queue.key(f"job:{job_id}"), "deadline", 1)
        self.model.jobs[job_id].is_late = True

    def age_gone(self) -> None:
        """More than a minute has passed since those workers left."""
        for worker_id in self.model.gone:
            self.queue.client.zadd(self.queue.key("gone"), {worker_id: 1})
            self.model.gone[worker_id] = True

    def lift_throttle(self) -> None:
        self.queue.client.delete(self.queue.key("reaping"))
        self.model.is_reaping = False

    # What holds after every step.

    def check(self) -> None:
        self.state = state = QueueState(self.queue)
        self.listen()
        for job_id, word in state.words().items():
            assert self.answers.setdefault(job_id, word) == word, "the first result wins"
            assert job_id not in self.forgotten, "a forgotten job is answered once more"
        self._check_places()
        self._check_messages()
        self._check_bounds()
        modelled = self.model.without_times()
        for name, held in state.without_times().items():
            assert held == modelled[name], f"{name}: {held}, and not as the model has it: {modelled[name]}"

    def listen(self) -> None:
        """Each message up to now; a subscription is one ordered stream, so a PONG says that there are no others."""
        self.ear.ping()
        while True:
            message = self.ear.get_message(timeout=10)
            assert message is not None, "the subscription is silent"
            if message["type"] == "pong":
                return
            if message["type"] == "message":
                job_id = id_of(message["data"])
                self.heard[job_id] += 1
                assert message["channel"].decode() == self.queue.channel(self.accepted[job_id].reply_to)
                assert self.state.results[job_id].encode() == message["data"], "stored before it is published"

    def _check_places(self) -> None:
        places = Counter(self.state.documents)
        documents = {job.encode().decode(): job_id for job_id, job in self.accepted.items()}
        assert places.keys() <= documents.keys(), "a document that nobody sent, or a refused one"
        for document, job_id in documents.items():
            is_answered = job_id in self.answers
            assert places[document] <= 1, f"{job_id} is in {places[document]} places"
            assert is_answered or places[document] == 1, f"{job_id} is lost"
            assert is_answered != (job_id in self.state.jobs), "a job is known until it is answered"

    def _check_messages(self) -> None:
        for job_id in self.answers:
            is_told = job_id not in self.cancelled and self.accepted[job_id].reply_to != ""
            assert self.heard[job_id] == is_told, "one message for each result, and none for a cancelled job"

    def _check_bounds(self) -> None:
        for key, ttl in self.state.ttl.items():
            kind = key.removeprefix(self.queue.key("")).partition(":")[0]
            if kind in {"job", "result", "worker", "reaping", "dropping"}:
                assert ttl > 0, f"{key} stays for ever"
        assert len(self.state.dead) <= self.model.max_dead, "the dead are capped"
        stats = self.state.stats
        counted = sum(stats.get(name, 0) for name in ("completed", "failed", "expired", "convicted"))
        assert counted == len(self.answers.keys() - self.cancelled)
        assert stats.get("enqueued", 0) == len(self.accepted)
