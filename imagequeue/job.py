"""The values that travel through Redis: a Job on its way down, a Result on its way back.

Both are JSON with the id first, at a fixed place, so that Lua and the waiter read it without parsing
200 kB of base64:

    {"id":"<32 hex>","reply_to":"<web id>","top":5,"image":"<base64>"}
    {"id":"<32 hex>","predictions":[["castle",0.9936,483], …],"queued_ms":…, …}
    {"id":"<32 hex>","error":{"code":"job_failed","message":"…"}}

When a job was enqueued and when its time runs out stand in its hash, by Redis's clock.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pybase64

from imagequeue.errors import ImageQueueError, JobLost, from_code
from imagequeue.events import warn

ID_LENGTH = 32
# Facts that are counted with; and what none of them, ms or jobs, comes near.
NUMBERS = frozenset({"queued_ms", "waited_ms", "inference_ms", "batch", "claimed_at", "stored_at"})
MOST_FACT = 1e15
# What stands around the image in a document.
_IMAGE, _END = b',"image":"', b'"}'
_ID = slice(len('{"id":"'), len('{"id":"') + ID_LENGTH)


def new_id() -> str:
    """32 hexadecimal digits, never used before."""
    return uuid.uuid4().hex


def id_of(document: bytes) -> str:
    """The id at the head of an encoded Job or Result."""
    return document[_ID].decode("ascii", "replace")


@dataclass(frozen=True)
class Job:
    """One image to classify.

    pixels: uint8 RGB, row by row, height x width x 3 bytes.
    reply_to: the web process whose channel hears of the result; empty if nobody listens.
    top: how many predictions are wanted, best first.
    """

    pixels: bytes
    reply_to: str = ""
    top: int = 5
    id: str = field(default_factory=new_id)

    def encode(self) -> bytes:
        """The document, as it lies in the queue."""
        # By hand, not json.dumps: base64 needs no escaping, and scanning 200 kB for it costs more than the rest.
        head = f'{{"id":"{self.id}","reply_to":"{self.reply_to}","top":{self.top}'
        return b"".join((head.encode("ascii"), _IMAGE, pybase64.b64encode(self.pixels), _END))

    @classmethod
    def decode(cls, document: bytes) -> Job:
        """Raises ValueError for what is no job document, or one that Lua and Python would read differently."""
        try:
            # The image stands last, so JSON's parser need not read it: a quarter of a millisecond.
            head, _, rest = document.partition(_IMAGE)
            fields: Mapping[str, Any] = json.loads(head + b"}")
            if not rest.endswith(_END):
                raise ValueError("not a job document: it ends early")
            job_id, reply_to, top = fields["id"], fields["reply_to"], fields["top"]
            if job_id != id_of(document):
                raise ValueError("not a job document: its id is not at its head")
            if not (isinstance(reply_to, str) and reply_to.isascii() and (reply_to == "" or reply_to.isprintable())):
                raise ValueError("not a job document: `reply_to` is no printable ASCII")
            if type(top) is not int or top < 1:
                raise ValueError("not a job document: `top` is no number of predictions")
            pixels = pybase64.b64decode(memoryview(rest)[: -len(_END)], validate=True)
            return cls(pixels=pixels, reply_to=reply_to, top=top, id=job_id)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a job document: {error!r}") from error


@dataclass(frozen=True)
class Prediction:
    """One label of the model with its probability, 0 to 1, and its place among the model's outputs.

    probability: the model's float32, as the shortest decimal that gives it again (see shortest); so JSON and four bytes
    of binary both have exactly what the model gave.
    """

    label: str
    probability: float
    index: int


@dataclass(frozen=True)
class Result:
    """What became of a job: predictions, best first, or an error.

    facts: what the worker tells about the way there: queued_ms, inference_ms, batch, worker, model, weights.
    """

    id: str
    predictions: tuple[Prediction, ...] = ()
    error: ImageQueueError | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def distribution(self) -> list[float]:
        """The probability of each of the model's outputs, in their order, if the result holds all of them."""
        return [p.probability for p in sorted(self.predictions, key=lambda p: p.index)]

    def encode(self) -> bytes:
        """The envelope: a few hundred bytes, stored under the result's key and published."""
        envelope: dict[str, Any] = {"id": self.id}
        if self.error is not None:
            envelope["error"] = {"code": self.error.code, "message": self.error.message}
        else:
            envelope["predictions"] = [(p.label, p.probability, p.index) for p in self.predictions]
        return json.dumps(envelope | dict(self.facts), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, envelope: bytes) -> Result:
        """Raises ValueError for what is no result envelope."""
        try:
            facts: dict[str, Any] = json.loads(envelope)
            job_id = str(facts.pop("id"))
            error = facts.pop("error", None)
            predictions = facts.pop("predictions", None)
            _check_facts(facts)
            if error is not None:
                return cls(id=job_id, error=from_code(str(error["code"]), str(error["message"])), facts=facts)
            return cls(id=job_id, predictions=tuple(map(_prediction, predictions)), facts=facts)
        except (KeyError, TypeError, AttributeError, RecursionError) as broken:
            raise ValueError(f"not a result envelope: {broken!r}") from broken

    @classmethod
    def read(cls, job_id: str, envelope: bytes) -> Result:
        """What Redis holds as the result of that job; one that cannot be read is a JobLost, after a warning."""
        try:
            return cls.decode(envelope)
        except ValueError as error:
            warn("result_unreadable", job=job_id, reason=str(error)[:200])
            return cls(job_id, error=JobLost("The image's result in Redis cannot be read; send the image again."))


def _prediction(entry: Sequence[Any]) -> Prediction:
    label, probability, index = entry
    if type(label) is not str or type(index) is not int or not math.isfinite(probability):
        raise ValueError("not a result envelope: a prediction is no label, number and place")
    return Prediction(label, probability, index)


def _check_facts(facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        is_number = type(value) in (int, float) and abs(value) < MOST_FACT
        if not (is_number if name in NUMBERS else is_number or value is None or isinstance(value, (str, bool))):
            raise ValueError(f"not a result envelope: `{name[:40]}` cannot be what it says")
