"""The queue: every key name, and one method for each script in lua/. docs/protocol.md tells why it is so.

Every method may be called again after its answer was lost; the scripts make a repeat change nothing. What
Redis or the network does wrong leaves this file as RedisDown, with a reason a person can use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis

from imagequeue.backlog import BURST, STANDING_PART, STANDING_WAIT, Backlog
from imagequeue.connections import is_demoted, is_wrong_type, or_none, redis_errors
from imagequeue.errors import DeadlineExceeded, Fenced, ImageQueueError, NoWorkers, RedisDown
from imagequeue.job import Job, Result
from imagequeue.latency import UNKNOWN_BUSY, UNKNOWN_LATENCY, Busy, Latency
from imagequeue.mending import finite, numbers_in, set_aside
from imagequeue.replies import Claimed, Completed, Reaped
from imagequeue.scripts import Scripts

# Documents kept in `dead`: 200 kB each.
MAX_DEAD = 100


class JobQueue:
    """One waiting list and all that belongs to it, seen through one Redis client."""

    def __init__(self, client: redis.Redis, name: str = "image_queue", *, result_ttl: float = 300.0) -> None:
        """name: the waiting list's key, without braces. result_ttl: seconds that an undelivered result is kept."""
        self.client = client
        self.name = name
        self.ttl_ms = int(result_ttl * 1000)
        self._scripts = Scripts(client)
        self._enqueue_text = self._scripts.text("enqueue")

    def key(self, suffix: str) -> str:
        """`{name}:suffix`: the braces put every key into the waiting list's cluster slot."""
        return f"{{{self.name}}}:{suffix}"

    def channel(self, web_id: str) -> str:
        return self.key(f"results:{web_id}")

    def _run(self, verb: str, *args: bytes | str | float) -> Any:
        worker_id = str(args[0]) if verb in ("claim", "complete", "fail", "heartbeat", "release") else ""
        with self._errors(worker_id):
            return self._scripts.run(verb, self.name, *args)

    @contextmanager
    def _errors(self, worker_id: str = "") -> Iterator[None]:
        """worker_id: whose keys are in use, too."""
        try:
            with redis_errors():
                yield
        except RedisDown as error:
            if is_demoted(error.__cause__):
                # After a failover the address may lead elsewhere by now; these connections never will.
                self.client.connection_pool.disconnect()
            elif is_wrong_type(error.__cause__):
                set_aside(self._scripts, self.name, worker_id)
            raise

    # The web side.

    def enqueue(
        self,
        job: Job,
        *,
        timeout: float,
        max_length: int,
        max_bytes: int = 0,
        needs_worker: bool = True,
        standing_wait: float | None = None,
    ) -> Backlog:
        """Accept `job`, to be answered within `timeout` seconds; returns what waits now.

        max_length, max_bytes: of all that waits. standing_wait: seconds, see backlog. A job without a reply_to
        may wait up to its deadline: nobody waits for it.
        Raises QueueFull, NoWorkers, RedisDown; after either of the first two the job is certainly not queued.
        """
        document = job.encode()
        limits = (int(timeout * 1000), max_length, max_bytes, int(needs_worker), self.ttl_ms, len(document))
        if standing_wait is None:
            standing_wait = max(STANDING_WAIT, STANDING_PART * timeout)
        waits = (int(standing_wait * 1000) if job.reply_to else 0, int(BURST * 1000))
        with self._errors():
            pipeline = self.client.pipeline(transaction=True)
            pipeline.rpush(self.name, document)
            # Its text, not its digest: a script that Redis has forgotten would leave the document there.
            pipeline.eval(self._enqueue_text, 1, self.name, job.id, *limits, *waits)
            _, (word, depth, each, most) = pipeline.execute()
        backlog = Backlog(int(depth), max(0.0, finite(each)) / 1000, int(most))
        if word in (b"FULL", b"LATE"):
            raise backlog.refusal(is_late=word == b"LATE")
        if word == b"NO_WORKERS":
            raise NoWorkers("No worker is alive to classify the image.", retry_after=5)
        return backlog

    def look_up(self, ids: Sequence[str]) -> list[tuple[bytes | None, bool]]:
        """For each id its result's envelope, if there is one, and whether the job is known: one round trip."""
        with redis_errors():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.mget([self.key(f"result:{i}") for i in ids])
            for job_id in ids:
                pipeline.exists(self.key(f"job:{job_id}"))
            envelopes, *known = pipeline.execute()
        return [(envelope, bool(is_known)) for envelope, is_known in zip(envelopes, known, strict=True)]

    def forget(self, ids: Iterable[str]) -> None:
        """Delete results that were delivered: one round trip."""
        with redis_errors():
            self.client.unlink(*(self.key(f"result:{i}") for i in ids))

    def cancel(self, job_id: str, error: ImageQueueError | None = None) -> bytes | None:
        """Give a job up, at its deadline if no other `error` says why. Returns the envelope if one was first.

        A job that has a result is dropped by claim, so a result that says so comes first. Its hash keeps when it was
        enqueued, as long as it lies there, but not its attempts: without them it is known no more, and does not come
        back to life if the result is forgotten before claim meets it.
        """
        error = error or DeadlineExceeded("The deadline passed before the image was classified.")
        gone = Result(id=job_id, error=error)
        key = self.key(f"result:{job_id}")
        with redis_errors():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.set(key, gone.encode(), nx=True, px=self.ttl_ms)
            pipeline.get(key)
            pipeline.hdel(self.key(f"job:{job_id}"), "attempts", "token")
            is_cancelled, envelope, _ = map(or_none, pipeline.execute(raise_on_error=False))
        return None if is_cancelled else envelope

    def cancel_all(self, ids: Iterable[str]) -> None:
        """`cancel` for jobs that nobody waits for: one round trip."""
        gone = DeadlineExceeded("Nobody waits for the image any more.")
        with redis_errors():
            pipeline = self.client.pipeline(transaction=False)
            for job_id in ids:
                pipeline.set(self.key(f"result:{job_id}"), Result(job_id, error=gone).encode(), nx=True, px=self.ttl_ms)
                # As `cancel` does: else it would keep its place in a full queue.
                pipeline.hdel(self.key(f"job:{job_id}"), "attempts", "token")
            # One whose hash is none is for claim to give up; the others are to be cancelled all the same.
            for answer in pipeline.execute(raise_on_error=False):
                or_none(answer)

    def live_workers(self) -> int:
        """How many workers hold a lease now, by Redis's clock. Raises RedisDown."""
        with self._errors():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(self.key("workers"), 0, -1, withscores=True)
            (seconds, microseconds), leases = pipeline.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        return sum(lease_end > now_ms for _, lease_end in leases)

    # The worker's side.

    def join(self, worker_id: str, lease_seconds: float, facts: dict[str, str | int | float]) -> None:
        """A fresh `worker_id` takes its first lease; `facts` are shown to people. Raises Fenced if it has left."""
        pairs = [part for pair in facts.items() for part in pair]
        self._beat(worker_id, lease_seconds, "JOIN", *pairs)

    def heartbeat(self, worker_id: str, lease_seconds: float) -> None:
        """Extend the lease. Raises Fenced if there is none to extend."""
        self._beat(worker_id, lease_seconds, "BEAT")

    def _beat(self, worker_id: str, lease_seconds: float, verb: str, *facts: str | int | float) -> None:
        if self._run("heartbeat", worker_id, int(lease_seconds * 1000), verb, *facts) == b"FENCED":
            raise Fenced(f"{worker_id} has no lease.")

    def claim(
        self,
        worker_id: str,
        *,
        lease_seconds: float,
        token: str,
        limit: int,
        held: int = 0,
        latency: Latency = UNKNOWN_LATENCY,
    ) -> list[Claimed]:
        """The next batch, in order, at most `limit` jobs; empty when there is nothing to do. Raises Fenced.

        token: new for each claim, and the same when that claim is repeated.
        held: how many documents from earlier claims are still in hand, not completed.
        latency: of the model, for this batch; jobs with less time left are answered and not returned.
        """
        times = (f"{seconds * 1000:.3f}" for seconds in (latency.one, latency.more, latency.ahead))
        word, *rest = self._run(
            "claim", worker_id, int(lease_seconds * 1000), token, limit, held, self.ttl_ms, MAX_DEAD, *times
        )
        if word == b"FENCED":
            raise Fenced(f"{worker_id} has no lease.")
        now_ms, *flat = rest
        return [
            Claimed(document, int(now_ms) - int(enqueued_ms), int(attempts), int(crashes), int(now_ms))
            for document, enqueued_ms, attempts, crashes in zip(*(flat[i::4] for i in range(4)), strict=True)
        ]

    def complete(
        self,
        worker_id: str,
        token: str,
        results: Sequence[tuple[Job, Result]],
        *,
        busy: Busy = UNKNOWN_BUSY,
    ) -> Completed:
        """Store and publish results of the batch that was claimed with `token`, in claim order.

        busy: how long the worker was with them, for the drain rate.
        """
        args = [part for job, result in results for part in (job.id, job.reply_to, result.encode())]
        times = (f"{busy.seconds * 1000:.3f}", busy.limit, f"{busy.full * 1000:.3f}")
        return Completed(*map(int, self._run("complete", worker_id, self.ttl_ms, token, *times, *args)))

    def fail(self, worker_id: str, job_id: str, reply_to: str, result: Result, reason: str) -> bool:
        """Give one job up with an error result, and keep its document in `dead`; False if it had a result."""
        args = (job_id, reply_to, result.encode(), reason)
        return bool(self._run("fail", worker_id, self.ttl_ms, MAX_DEAD, *args) == b"STORED")

    def release(self, worker_id: str) -> int:
        """Hand back all that lies in the worker's processing list, and end its lease; returns how many."""
        return int(self._run("release", worker_id))

    def reap(self, *, interval: float, max_crashes: int, victim: str = "") -> Reaped:
        """Bring back the jobs of workers whose lease has ended; no sooner than `interval` seconds after the last.

        victim: a worker whose process is known to be dead, reaped at once whatever its lease.
        """
        counts = self._run("reap", int(interval * 1000), max_crashes, self.ttl_ms, MAX_DEAD, victim)
        return Reaped(*map(int, counts))

    def bury(self, owner: str, *, max_crashes: int) -> int:
        """Reap at once all incarnations of a process that is known to be dead; returns how many it had.

        owner: `host:pid`, which every worker id of that process begins with.
        """
        with redis_errors():
            ids = cast("list[bytes]", self.client.zrange(self.key("workers"), 0, -1))
        victims = [worker_id.decode() for worker_id in ids if worker_id.startswith(f"{owner}:".encode())]
        for victim in victims:
            self.reap(interval=1.0, max_crashes=max_crashes, victim=victim)
        return len(victims)

    # For people and tests.

    def dead(self) -> list[bytes]:
        """The documents that were given up, the latest first; see imagequeue.dead."""
        with self._errors():
            return cast("list[bytes]", self.client.lrange(self.key("dead"), 0, -1))

    def requeue(self, entry: bytes, job: Job, *, timeout: float) -> bool:
        """Take one of `dead` off them and let it wait as `job`, to be answered within `timeout` seconds: one step.

        job: the entry's image under a new id. False if the entry is no longer there.
        """
        word = self._run("requeue", entry, job.encode(), int(timeout * 1000), self.ttl_ms)
        return bool(word == b"OK")

    def clear_dead(self) -> None:
        with redis_errors():
            self.client.delete(self.key("dead"))

    def look_around(self) -> list[Any]:
        """What overview.lua returns; imagequeue.overview makes sense of it."""
        return cast("list[Any]", self._run("overview"))

    def depth(self) -> int:
        """How many jobs wait."""
        with redis_errors():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.llen(self.name)
            pipeline.llen(self.key("bulk"))
            return sum(pipeline.execute())

    def stats(self) -> dict[str, float]:
        """The counters: enqueued, completed, expired, refused, failed, crashes, convicted, dead, …"""
        with self._errors():
            stats = cast("dict[bytes, bytes]", self.client.hgetall(self.key("stats")))
        return numbers_in(stats.items())
