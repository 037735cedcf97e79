"""Jobs for tests of the queue: tiny, and told apart by their pixels."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import redis

from imagequeue.job import Job, Prediction, Result
from imagequeue.jobqueue import JobQueue
from tests.support.system import eventually

LEASE = 30.0
# A bookkeeping key may change with time; what matters must not.
TIMES = ("stats", "workers", "gone", "reaping", "dropping")


def make_job(number: int = 0, reply_to: str = "web-1") -> Job:
    return Job(pixels=bytes([number % 256]) * 12, reply_to=reply_to)


def make_result(job: Job, label: str = "castle") -> Result:
    return Result(id=job.id, predictions=(Prediction(label, 0.9, 1),))


def enqueue(queue: JobQueue, count: int = 1, *, timeout: float = 30.0, reply_to: str = "web-1") -> list[Job]:
    jobs = [make_job(number, reply_to) for number in range(count)]
    for job in jobs:
        queue.enqueue(job, timeout=timeout, max_length=1000, needs_worker=False)
    return jobs


def join(queue: JobQueue, *workers: str, lease: float = LEASE) -> None:
    for worker in workers:
        queue.join(worker, lease, {"host": "test"})


def claim(queue: JobQueue, worker: str = "w1", *, token: str = "t1", limit: int = 32, held: int = 0) -> list[str]:
    """The ids of a claimed batch, in order."""
    batch = queue.claim(worker, lease_seconds=LEASE, token=token, limit=limit, held=held)
    return [Job.decode(claimed.document).id for claimed in batch]


def end_lease(queue: JobQueue, worker: str) -> None:
    """As if the lease had run out, without the wait."""
    queue.client.zadd(queue.key("workers"), {worker: 1})


def reap(queue: JobQueue, *, max_crashes: int = 2, victim: str = "") -> tuple[int, int, int, int]:
    queue.client.delete(queue.key("reaping"))
    found = queue.reap(interval=1.0, max_crashes=max_crashes, victim=victim)
    return found.suspects, found.workers, found.jobs, found.convicted


def ids_in(queue: JobQueue, suffix: str = "") -> list[str]:
    """The ids in the waiting list, or in another list of the queue."""
    documents: Any = queue.client.lrange(queue.key(suffix) if suffix else queue.name, 0, -1)
    return [Job.decode(document).id for document in documents]


def job_hash(queue: JobQueue, job: Job) -> dict[str, str]:
    found: Any = queue.client.hgetall(queue.key(f"job:{job.id}"))
    return {field.decode(): value.decode() for field, value in found.items()}


def snapshot(client: redis.Redis) -> dict[str, Any]:
    """All that Redis holds, but for times and counters."""
    held: dict[str, Any] = {}
    for raw in client.keys("*"):
        key = raw.decode()
        if any(key.endswith(f":{name}") for name in TIMES):
            continue
        kind = client.type(key)
        if kind == b"list":
            held[key] = client.lrange(key, 0, -1)
        elif kind == b"hash":
            held[key] = client.hgetall(key)
        elif kind == b"zset":
            held[key] = client.zrange(key, 0, -1)
        else:
            held[key] = client.get(key)
    return held


def fill_memory(client: redis.Redis) -> None:
    """maxmemory, reached now."""
    client.config_set("maxmemory", str(int(client.info("memory")["used_memory"]) - 1024))


def free_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", "0")


def unable_to_save(client: redis.Redis) -> None:
    # A directory is where the snapshot should be: what a full disk does, too, and to root as well.
    directory = Path(client.config_get("dir")["dir"]) / "dump.rdb"
    directory.mkdir()
    (directory / "full").touch()
    client.config_set("save", "3600 1")
    client.set("something", "1")
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def junk_document() -> bytes:
    return base64.b64encode(b"no job document")
