"""A client in Python: `Client("http://127.0.0.1:5000").predict("photo.jpg")`.

Thread-safe as far as `requests` is: give each thread a Client of its own, which then keeps its connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import requests

from imagequeue.answers import Answer, Reply, ServerAway, WrongShape, answer_of, document_of, parse_answer, results_of
from imagequeue.errors import ImageQueueError, Unavailable

__all__ = ["DEFAULT_URL", "Answer", "Client", "ServerAway", "WrongShape"]

DEFAULT_URL = "http://127.0.0.1:5000"
# Longer than the server's own deadline, which answers 504 and says why.
DEFAULT_TIMEOUT = 60.0
# Of one request of `predict_many`: well within what a server takes by default, MAX_UPLOAD_BYTES.
CHUNK_IMAGES = 64
CHUNK_BYTES = 8 * 2**20

Image = str | Path | bytes
T = TypeVar("T")


class Client:
    """One server, one kept-alive connection.

    What the server refuses or fails at is raised as the error that the server itself raised (BadImage, QueueFull, …).
    Every method may raise ServerAway, and WrongShape for what is no answer of this service; those that take images,
    given by their file's path or bytes, raise OSError for a file that cannot be read.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = 3,
        longest_wait: float = 60.0,
        api_key: str = "",
    ) -> None:
        """url: the server's address. timeout: seconds for each try. api_key: for a server that asks for one.

        retries: how often a 503 is tried again, after as many seconds as the server asks for; but not if those are
        more than longest_wait.
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._retries = retries
        self._longest_wait = longest_wait
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

    def predict(self, image: Image, *, top: int | None = None, request_id: str = "") -> Answer:
        """The labels of one image."""
        body = _read(image)

        def once() -> Answer:
            return parse_answer(*self._send(body, top, {"X-Request-ID": request_id} if request_id else {}))

        return self._patiently(once)

    def predict_many(self, images: Iterable[Image], *, top: int | None = None) -> list[Answer | ImageQueueError]:
        """For each image, in order, its labels, or the error that kept it from them; many go in one request."""
        return [found for chunk in _chunks(map(_read, images)) for found in self._predict_chunk(chunk, top)]

    def submit(self, image: Image, *, top: int | None = None) -> str:
        """Send an image and wait for nothing; returns the job's id, for `fetch` and `cancel`."""
        body = _read(image)
        return self._patiently(lambda: str(document_of(self._send(body, top, {"Prefer": "respond-async"}), 202)["id"]))

    def fetch(self, job_id: str) -> Answer | None:
        """The labels of an image that was submitted, or None while there are none yet."""
        reply = self._ask("GET", f"/jobs/{job_id}")
        document = document_of(reply)
        return answer_of(document, reply) if document.get("state") in ("done", "failed") else None

    def cancel(self, job_id: str) -> bool:
        """Have a submitted image not computed; False if it has been computed already."""
        return document_of(self._ask("DELETE", f"/jobs/{job_id}")).get("state") == "failed"

    def _predict_chunk(self, bodies: Sequence[bytes], top: int | None) -> list[Answer | ImageQueueError]:
        """One request; what was refused for now is sent again, alone."""
        found: dict[int, Answer | ImageQueueError] = {}
        left = list(range(len(bodies)))
        for tries_left in range(self._retries, -1, -1):
            for number, outcome in zip(left, self._predict_once([bodies[i] for i in left], top), strict=True):
                found[number] = outcome
            refusals = {i: error for i in left if isinstance(error := found[i], Unavailable)}
            wait = max((refusal.retry_after for refusal in refusals.values()), default=0)
            if not refusals or not tries_left or wait > self._longest_wait:
                break
            time.sleep(wait)
            left = list(refusals)
        return [found[i] for i in range(len(bodies))]

    def _predict_once(self, bodies: Sequence[bytes], top: int | None) -> list[Answer | ImageQueueError]:
        files = [("image", ("image", body)) for body in bodies]
        return results_of(self._ask("POST", "/predict", files=files, params=_query(top)), len(bodies))

    def _send(self, body: bytes, top: int | None, headers: dict[str, str]) -> Reply:
        headers = {"Content-Type": "application/octet-stream"} | headers
        return self._ask("POST", "/predict", data=body, headers=headers, params=_query(top))

    def _ask(self, method: str, path: str, **content: Any) -> Reply:
        try:
            response = self._session.request(method, f"{self.url}{path}", timeout=self._timeout, **content)
        except requests.RequestException as error:
            raise ServerAway(f"No answer from {self.url}: {_plain(error)}.") from error
        return Reply(response.status_code, response.headers, response.content)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What `ask` returns, asked again after a 503."""
        for tries_left in range(self._retries, -1, -1):
            try:
                return ask()
            except ServerAway:
                raise
            except Unavailable as refusal:
                if not tries_left or refusal.retry_after > self._longest_wait:
                    raise
                time.sleep(refusal.retry_after)
        raise AssertionError("unreachable")


def _read(image: Image) -> bytes:
    return image if isinstance(image, bytes) else Path(image).read_bytes()


def _query(top: int | None) -> dict[str, str]:
    return {} if top is None else {"top": str(top)}


def _chunks(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    """As few requests as fit; an image that is larger than all of one goes alone."""
    chunk: list[bytes] = []
    for body in bodies:
        if chunk and (len(chunk) == CHUNK_IMAGES or sum(map(len, chunk)) + len(body) > CHUNK_BYTES):
            yield chunk
            chunk = []
        chunk.append(body)
    if chunk:
        yield chunk


def _plain(error: requests.RequestException) -> str:
    """What happened, without the nested names of three libraries."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return "connection refused" if "refused" in str(error) else "the connection failed or broke"
    return str(error)
