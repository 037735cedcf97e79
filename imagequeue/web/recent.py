"""The answers of late, as all processes of a server gave them: the latest ones, and percentiles of the last minute."""

from __future__ import annotations

import heapq
import math
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from imagequeue.events import warn
from imagequeue.web.answer import Answer
from imagequeue.web.owner import EVERYBODY, MARK_BYTES, Owner
from imagequeue.web.processes import is_alive
from imagequeue.web.ring import Ring, records

# Of each process: a minute at 68 images a second; at more, percentiles are of the latest that many.
MOST = 4096
WINDOW_SECONDS = 60.0
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
STAGES = ("decode", "enqueue", "queue", "inference", "wake", "total")
# When (Unix seconds), status, the stages (ms); then the owner's mark, id and label (the best one, or the error's code),
# cut off.
_HEAD = struct.Struct(f"<dH{len(STAGES)}f")
_TEXTS = struct.Struct(f"<{MARK_BYTES}s32s40s")


class Recent:
    """What was answered: this process's own, and what its siblings left in the same directory."""

    def __init__(self, directory: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """directory: shared with the siblings; without one each process knows its own answers alone."""
        self._directory = directory
        self._clock = clock
        self._opening = threading.Lock()
        self._pid = 0

    def add(self, answer: Answer) -> None:
        self._own().add(_encoded(answer, self._clock()))

    def read(self) -> Answers:
        """What has been answered until now."""
        now, found = self._clock(), list(self._own().read())
        for file in self._directory.glob("answers_*.ring") if self._directory else ():
            pid = int(file.stem.rpartition("_")[2])
            if pid != os.getpid():
                found += _of_sibling(file, pid, now - WINDOW_SECONDS)
        return Answers(found, now)

    def _own(self) -> Ring:
        """Made in the process that writes to it: after the fork."""
        if self._pid != os.getpid():
            with self._opening:
                if self._pid != os.getpid():
                    self._ring = self._new_ring()
                    self._pid = os.getpid()
        return self._ring

    def _new_ring(self) -> Ring:
        size = _HEAD.size + _TEXTS.size
        if self._directory is not None:
            try:
                return Ring(size, MOST, self._directory / f"answers_{os.getpid()}.ring")
            except OSError as error:
                # That its siblings do not see its answers is no reason to give none.
                warn("answers_not_shared", directory=self._directory, reason=str(error))
        return Ring(size, MOST, None)


class Answers:
    """The answers of late at one instant. Records are unpacked as far as they are looked at; they may be many."""

    def __init__(self, found: list[bytes], now: float) -> None:
        """found: records, in any order. now: Unix seconds."""
        self._found = found
        self._now = now

    def latest(self, count: int, owner: Owner = EVERYBODY) -> list[dict[str, Any]]:
        """The latest answers first, of those that `owner` may see."""
        mark, is_all = owner.mark, owner.sees_all
        seen = [record for record in self._found if is_all or record[_HEAD.size :].startswith(mark)]
        return [_described(record) for record in heapq.nlargest(count, seen, key=_at)]

    def latency(self) -> dict[str, Any]:
        """Percentiles of the last minute's good answers, ms by stage, and how many they were."""
        horizon = self._now - WINDOW_SECONDS
        heads = map(_HEAD.unpack_from, self._found)
        good = [stages for at, status, *stages in heads if at >= horizon and status == 200]
        described: dict[str, Any] = {"count": len(good), "seconds": WINDOW_SECONDS}
        for stage, values in zip(STAGES, zip(*good, strict=True), strict=bool(good)):
            ordered = sorted(values)
            described[stage] = {name: round(percentile(ordered, share), 1) for name, share in SHARES.items()}
        return described


def _of_sibling(file: Path, pid: int, horizon: float) -> list[bytes]:
    try:
        found = list(records(file.read_bytes(), _HEAD.size + _TEXTS.size))
        if not is_alive(pid) and all(_at(record) < horizon for record in found):
            # What a dead process said counts for as long as it would otherwise.
            file.unlink()
    except FileNotFoundError:
        # Another process was first to remove it.
        return []
    return found


def _encoded(answer: Answer, at: float) -> bytes:
    if answer.error is not None:
        label = answer.error.code
    else:
        label = answer.result.predictions[0].label if answer.result and answer.result.predictions else ""
    stages = answer.stages()
    head = _HEAD.pack(at, answer.status, *(stages[stage] for stage in STAGES))
    return head + _TEXTS.pack(answer.owner.mark, answer.id.encode(), label.encode())


def _at(record: bytes) -> float:
    at: float = _HEAD.unpack_from(record)[0]
    return at


def _described(record: bytes) -> dict[str, Any]:
    at, status, *stages = _HEAD.unpack_from(record)
    _, *texts = _TEXTS.unpack_from(record, _HEAD.size)
    job_id, label = (text.rstrip(b"\0").decode("utf-8", "ignore") for text in texts)
    return {
        "id": job_id,
        "time": round(at, 3),
        "status": status,
        "label": label,
        "ms": round(stages[STAGES.index("total")], 1),
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the ordered values do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
