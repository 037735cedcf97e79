"""All that a queue holds in Redis at one instant, read in one step."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from tests.support.queuemodel import ids_of, word_of

# One script, so that no other client comes between; KEYS is for tests alone.
_READ = """
local held = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, content = redis.call('TYPE', key).ok, nil
  if kind == 'list' then content = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'hash' then content = redis.call('HGETALL', key)
  elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else content = redis.call('GET', key) end
  held[#held + 1] = {key, redis.call('PTTL', key), content}
end
local time = redis.call('TIME')
return cjson.encode({time[1] * 1000 + math.floor(time[2] / 1000), held})
"""


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


class QueueState:
    """What lies in Redis, sorted by what it is; a key that belongs to no known kind raises AssertionError."""

    def __init__(self, queue: JobQueue) -> None:
        held: list[tuple[str, int, Any]]
        self.now_ms, held = json.loads(queue.client.eval(_READ, 0))
        self.waiting: list[str] = []
        self.bulk: list[str] = []
        self.suspects: list[str] = []
        self.processing: dict[str, list[str]] = {}
        self.dead: list[str] = []
        self.jobs: dict[str, dict[str, str]] = {}
        self.results: dict[str, str] = {}
        self.leases: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.stats: dict[str, float] = {}
        # Milliseconds to live; -1 for ever.
        self.ttl: dict[str, int] = {}
        for key, ttl, content in held:
            self.ttl[key] = ttl
            kind, _, name = key.removeprefix(queue.key("")).partition(":")
            if key == queue.name:
                self.waiting = content
            elif kind == "bulk":
                self.bulk = content
            elif kind == "suspect":
                self.suspects = content
            elif kind == "processing":
                self.processing[name] = content
            elif kind == "dead":
                self.dead = [json.loads(entry)["document"] for entry in content]
            elif kind == "job":
                fields = _pairs(content)
                # Without, it was cancelled.
                if "attempts" in fields:
                    self.jobs[name] = fields
            elif kind == "result":
                self.results[name] = content
            elif kind == "workers":
                self.leases = {worker: float(end) for worker, end in _pairs(content).items()}
            elif kind == "gone":
                self.gone = {worker: float(left) for worker, left in _pairs(content).items()}
            elif kind == "stats":
                self.stats = {field: float(value) for field, value in _pairs(content).items()}
            else:
                assert kind in {"worker", "reaping", "dropping"}, f"a key that nobody knows: {key}"

    @property
    def documents(self) -> list[str]:
        """Of all lists that a job may be in."""
        return (
            self.waiting + self.bulk + self.suspects + [d for documents in self.processing.values() for d in documents]
        )

    def words(self) -> dict[str, str]:
        return {job_id: word_of(Result.decode(envelope.encode())) for job_id, envelope in self.results.items()}

    def without_times(self) -> dict[str, Any]:
        """All that must be the same after the same calls, whenever they came; compared with QueueModel's."""
        counted = ("enqueued", "completed", "failed", "expired", "crashes", "convicted", "dead")
        return {
            "waiting": ids_of(self.waiting),
            "bulk": ids_of(self.bulk),
            "suspects": ids_of(self.suspects),
            "processing": {worker: ids_of(documents) for worker, documents in self.processing.items()},
            "dead": ids_of(self.dead),
            "jobs": {
                job_id: (int(job["attempts"]), int(job["crashes"]), job.get("token"))
                for job_id, job in self.jobs.items()
            },
            "results": self.words(),
            "leases": {worker: end <= self.now_ms for worker, end in self.leases.items()},
            "gone": set(self.gone),
            "counts": +Counter({name: int(self.stats.get(name, 0)) for name in counted}),
        }
