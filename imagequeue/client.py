"""A client in Python: `Client("http://127.0.0.1:5000").predict("photo.jpg")`.

Thread-safe as far as `requests` is: give each thread a Client of its own, which then keeps its connection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from imagequeue.errors import (
    BadImage,
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ImageQueueError,
    JobFailed,
    NotFound,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from imagequeue.job import Prediction

DEFAULT_URL = "http://127.0.0.1:5000"
# Longer than the server's own deadline, which answers 504 and says why.
DEFAULT_TIMEOUT = 60.0

_BY_STATUS: dict[int, type[ImageQueueError]] = {
    error.status: error
    for error in (
        BadRequest,
        Unauthorized,
        NotFound,
        TooLarge,
        Unsupported,
        BadImage,
        TooMany,
        Unavailable,
        DeadlineExceeded,
        JobFailed,
    )
}


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


class Client:
    """One server, one kept-alive connection."""

    def __init__(
        self, url: str = DEFAULT_URL, *, timeout: float = DEFAULT_TIMEOUT, retries: int = 3, api_key: str = ""
    ) -> None:
        """url: the server's address. timeout: seconds for each try. api_key: for a server that asks for one.

        retries: how often a 503 is tried again, after as many seconds as the server asks for.
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._retries = retries
        self._session = requests.Session()
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"
        # What the environment says of proxies is looked up anew for each request otherwise: 1 ms of each.
        self._session.trust_env = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def predict(self, image: str | Path | bytes, *, top: int | None = None, request_id: str = "") -> Answer:
        """The labels of one image, given by its file's path or bytes.

        Raises what the server answered as the same error that the server raised (BadImage, QueueFull as
        Unavailable, …), ServerAway, WrongShape; OSError for a file that cannot be read.
        """
        body = image if isinstance(image, bytes) else Path(image).read_bytes()
        for left in range(self._retries, -1, -1):
            try:
                return self._predict_once(body, top, request_id)
            except ServerAway:
                raise
            except Unavailable as refusal:
                if left == 0:
                    raise
                time.sleep(refusal.retry_after)
        raise AssertionError("unreachable")

    def _predict_once(self, body: bytes, top: int | None, request_id: str) -> Answer:
        headers = {"Content-Type": "application/octet-stream"}
        if request_id:
            headers["X-Request-ID"] = request_id
        try:
            response = self._session.post(
                f"{self.url}/predict",
                data=body,
                headers=headers,
                params={} if top is None else {"top": str(top)},
                timeout=self._timeout,
            )
        except requests.RequestException as error:
            raise ServerAway(f"No answer from {self.url}: {_plain(error)}.") from error
        return read_answer(response)


def read_answer(response: requests.Response) -> Answer:
    """An HTTP answer of POST /predict for one image; raises the error that it stands for."""
    return parse_answer(response.status_code, response.headers, response.content)


def parse_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """`read_answer` for who has the three parts of an answer from another library."""
    try:
        document: Any = json.loads(body)
        if status != 200:
            error = document["error"]
            raise _error(status, headers, str(error["code"]), str(error["message"]))
        predictions = tuple(
            Prediction(str(p["label"]), float(p["probability"]), index)
            for index, p in enumerate(document["predictions"])
        )
        answer = Answer(
            id=str(document["id"]),
            predictions=predictions,
            model=str(document.get("model", "")),
            weights=str(document.get("weights", "")),
            timing=_timing(headers.get("Server-Timing", "")),
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise WrongShape(f"HTTP {status} with a body that is no answer: {_text(body[:100])!r}") from broken
    probabilities = [p.probability for p in predictions]
    is_sorted = probabilities == sorted(probabilities, reverse=True)
    if document.get("success") is not True or not predictions or not is_sorted or not 0 <= probabilities[0] <= 1.001:
        raise WrongShape(f"These are no predictions: {_text(body[:200])!r}")
    return answer


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _error(status: int, headers: Mapping[str, str], code: str, message: str) -> ImageQueueError:
    fallback = ClientError if 400 <= status < 500 else ImageQueueError
    error = _BY_STATUS.get(status, fallback)(message)
    if isinstance(error, Unavailable):
        retry_after = headers.get("Retry-After", "")
        error.retry_after = int(retry_after) if retry_after.isdigit() else 1
    # The server knows more kinds than there are statuses.
    error.code = code  # type: ignore[misc]
    return error


def _timing(header: str) -> dict[str, float]:
    spans = {}
    for span in header.split(","):
        name, _, duration = span.strip().partition(";dur=")
        try:
            spans[name] = float(duration)
        except ValueError:
            continue
    return spans


def _plain(error: requests.RequestException) -> str:
    """What happened, without the nested names of three libraries."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return "connection refused" if "refused" in str(error) else "the connection failed or broke"
    return str(error)
