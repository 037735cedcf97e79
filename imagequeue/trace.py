"""What is remembered of one job's way, and the account that is made of it for people.

Two clocks are involved. Redis's own places what happened there and at the worker, whatever their hosts believe: the job
was enqueued, claimed and stored at instants that Redis gave, and between them the worker only counted how long it took.
The web server's places what happened in it. The two are laid over each other where they touch, at the enqueuing, which
the web server timed and Redis stamped; so they fit together to about a millisecond.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imagequeue.job import Result


@dataclass(frozen=True)
class Trace:
    """One job as its web server saw it. Instants are ms since Redis had the job, before it negative.

    web: the server's process. at: Unix seconds, by the host's clock, when Redis had the job. woken_ms: None where
    nobody waited, or nothing came. by: message or poll. status: as HTTP has it. facts: what the worker told, as
    in Result.
    """

    id: str
    web: str
    at: float
    received_ms: float
    decode_ms: float
    enqueue_ms: float
    answered_ms: float
    woken_ms: float | None = None
    by: str = ""
    status: int = 200
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        # vars and not asdict, whose deep copies take longer than all the rest.
        return json.dumps(vars(self) | {"facts": dict(self.facts)}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, document: bytes) -> Trace:
        """Raises ValueError, TypeError for what is no trace."""
        trace = cls(**json.loads(document))
        if not isinstance(trace.facts, dict):
            raise ValueError("not a trace: its facts are no object")
        return trace

    def completed(self, result: Result) -> Trace:
        """With what became of the job since: nobody waited, so the web server did not hear of it."""
        error = result.error.code if result.error is not None else ""
        return replace(self, facts=self.facts or result.facts, error=self.error or error)

    def described(self) -> dict[str, Any]:
        """The account: `steps` in order, each with the ms since the request was received and since the step before."""
        steps, before = [], 0.0
        for name, at, facts in self._steps():
            # A reading of one clock may fall a moment before a later one of the other.
            at = max(before, at - self.received_ms)
            steps.append({"name": name, "at_ms": round(at, 2), "ms": round(at - before, 2), **facts})
            before = at
        started = self._enqueued_at() + self.received_ms / 1000
        return {
            "id": self.id,
            "received": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started))
            + f".{int(started * 1000) % 1000:03d}Z",
            "clock": "redis" if "claimed_at" in self.facts else "web server",
            "status": self.status,
            "error": self.error or None,
            "total_ms": round(before, 2),
            "web": self.web,
            "steps": steps,
        }

    def _enqueued_at(self) -> float:
        """Unix seconds; Redis's own where the worker has told of them."""
        if "claimed_at" in self.facts:
            return float(self.facts["claimed_at"] - self.facts["queued_ms"]) / 1000
        return self.at

    def _steps(self) -> Iterator[tuple[str, float, dict[str, Any]]]:
        yield "received", self.received_ms, {}
        # Redis had the job somewhere in the middle of the round trip.
        yield "decoded", -self.enqueue_ms / 2, {"decode_ms": round(self.decode_ms, 2)}
        yield "enqueued", 0.0, {}
        facts = self.facts
        if "claimed_at" in facts:
            claimed = float(facts["queued_ms"])
            yield "claimed", claimed, {"worker": facts.get("worker")}
            predicted = claimed + float(facts.get("waited_ms", 0)) + float(facts["inference_ms"])
            yield (
                "predicted",
                predicted,
                {name: facts.get(name) for name in ("inference_ms", "batch", "model", "weights")},
            )
            if "stored_at" in facts:
                stored = claimed + facts["stored_at"] - facts["claimed_at"]
                yield "stored", stored, {}
                if self.by:
                    yield "published", stored, {}
        if self.woken_ms is not None:
            yield "woken", self.woken_ms, {"by": self.by}
        if self.by or self.error or self.woken_ms is not None:
            yield "answered", self.answered_ms, {"status": self.status}
