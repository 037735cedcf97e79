"""What an HTTP answer of POST /predict and of /jobs says: labels, or the error that the server raised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from imagequeue import errors
from imagequeue.errors import ClientError, ImageQueueError, Unavailable
from imagequeue.job import Prediction

# By status, for whatever a server or a proxy answers; by code, for what one status has several kinds of.
_KINDS: tuple[type[ImageQueueError], ...] = (
    errors.BadRequest,
    errors.Unauthorized,
    errors.NotFound,
    errors.Cancelled,
    errors.TooLarge,
    errors.Unsupported,
    errors.Misdirected,
    errors.BadImage,
    errors.TooMany,
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.JobFailed,
)
_BY_STATUS = {kind.status: kind for kind in _KINDS}
_OF_ONE_STATUS: tuple[type[ImageQueueError], ...] = (
    errors.QueueFull,
    errors.NoWorkers,
    errors.RedisDown,
    errors.ServerBusy,
    errors.JobLost,
)
_BY_CODE = {kind.code: kind for kind in (*_KINDS, *_OF_ONE_STATUS)}


class ServerAway(Unavailable):
    """Nobody answers at the address, or the connection broke before the answer came."""

    code = "server_away"


class WrongShape(ImageQueueError):
    """An answer came that is none of this service's."""

    code = "wrong_shape"


@dataclass(frozen=True)
class Answer:
    """The labels of one image, best first. `timing`: the server's own account, ms by stage (Server-Timing)."""

    id: str
    predictions: tuple[Prediction, ...]
    model: str = ""
    weights: str = ""
    timing: Mapping[str, float] = field(default_factory=dict)


class Reply(NamedTuple):
    """The three parts of an HTTP answer, whichever library brought it; `headers` by names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """An HTTP answer of POST /predict for one image. Raises the error that it stands for, WrongShape."""
    reply = Reply(status, headers, body)
    return answer_of(document_of(reply), reply)


def document_of(reply: Reply, status: int = 200) -> dict[str, Any]:
    """The JSON of an answer with that status. Raises the error that any other stands for, WrongShape."""
    try:
        document = json.loads(reply.body)
        if reply.status != status:
            raise _error(document["error"], reply)
    except (ValueError, KeyError, TypeError) as broken:
        raise WrongShape(f"HTTP {reply.status} with a body that is no answer: {_start(reply)}") from broken
    if not isinstance(document, dict):
        raise WrongShape(f"This is no answer: {_start(reply)}")
    return document


def results_of(reply: Reply, count: int) -> list[Answer | ImageQueueError]:
    """An HTTP answer of POST /predict for `count` images: for each its labels, or its error. Raises WrongShape."""
    try:
        document = document_of(reply)
    except WrongShape:
        raise
    except ImageQueueError as error:
        # Refused as a whole, or none of its images was any good.
        return [error] * count
    results = [document] if count == 1 else document.get("results")
    if not isinstance(results, list) or len(results) != count:
        raise WrongShape(f"These are not {count} results: {_start(reply)}")
    return [_outcome(result, reply) for result in results]


def answer_of(document: Mapping[str, Any], reply: Reply) -> Answer:
    """The predictions in a document. Raises the error that it tells of, WrongShape."""
    try:
        if "error" in document:
            raise _error(document["error"], reply)
        predictions = tuple(
            Prediction(str(p["label"]), float(p["probability"]), index)
            for index, p in enumerate(document["predictions"])
        )
        answer = Answer(
            id=str(document["id"]),
            predictions=predictions,
            model=str(document.get("model", "")),
            weights=str(document.get("weights", "")),
            timing=_timing(reply.headers.get("Server-Timing", "")),
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise WrongShape(f"This is no answer: {_start(reply)}") from broken
    probabilities = [p.probability for p in predictions]
    is_sorted = probabilities == sorted(probabilities, reverse=True)
    if document.get("success") is not True or not predictions or not is_sorted or not 0 <= probabilities[0] <= 1.001:
        raise WrongShape(f"These are no predictions: {_start(reply)}")
    return answer


def _outcome(result: Any, reply: Reply) -> Answer | ImageQueueError:
    if not isinstance(result, dict):
        raise WrongShape(f"This is no result: {str(result)[:100]!r}")
    try:
        return answer_of({"success": True} | result, reply)
    except WrongShape:
        raise
    except ImageQueueError as error:
        return error


def _error(told: Mapping[str, Any], reply: Reply) -> ImageQueueError:
    """The error that a server tells of: its class by its code, or else by the status."""
    code, message = str(told["code"]), str(told["message"])
    fallback = ClientError if 400 <= reply.status < 500 else ImageQueueError
    kind = _BY_CODE.get(code) or _BY_STATUS.get(reply.status, fallback)
    error = kind(message)
    if isinstance(error, Unavailable):
        retry_after = reply.headers.get("Retry-After", "")
        error.retry_after = int(retry_after) if retry_after.isdigit() else 1
    # The server may know more kinds than this client does.
    error.code = code  # type: ignore[misc]
    return error


def _start(reply: Reply) -> str:
    return repr(reply.body[:200].decode("utf-8", "replace"))


def _timing(header: str) -> dict[str, float]:
    spans = {}
    for span in header.split(","):
        name, _, duration = span.strip().partition(";dur=")
        try:
            spans[name] = float(duration)
        except ValueError:
            continue
    return spans
