"""One connection that sends images and judges the answers.

On urllib3 itself, not requests: the load shares its processors with the server that it measures, and a request
costs it a third of the time.
"""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

import urllib3

from imagequeue.answers import Answer, ServerAway, parse_answer

# Longer than the server's own deadline, which answers 504 and says why.
TIMEOUT = 60.0
# Batches of different sizes may differ in the last digits; a label that leads by less than this may lose its place.
TOLERANCE = 0.01


class Sender:
    """Not for several threads at a time; keeps its connection alive."""

    def __init__(self, url: str, api_key: str = "") -> None:
        parts = urlsplit(url)
        self._path = f"{parts.path.rstrip('/')}/predict"
        self._url = url
        self._headers = {"Content-Type": "application/octet-stream"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.connection_from_url(
            f"{parts.scheme}://{parts.netloc}", maxsize=1, timeout=TIMEOUT, retries=False
        )

    def send(self, image: bytes) -> Answer:
        """Raises what the server answered, ServerAway, WrongShape; nothing is tried again."""
        try:
            response = self._pool.urlopen("POST", self._path, body=image, headers=self._headers, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise ServerAway(f"No answer from {self._url}: {type(error).__name__}.") from error
        return parse_answer(response.status, response.headers, response.data)

    def close(self) -> None:
        self._pool.close()


class Judge:
    """Remembers what each image was answered first, and holds the later answers against it."""

    def __init__(self, count: int) -> None:
        self._first: list[Answer | None] = [None] * count
        self._lock = threading.Lock()

    def has_changed(self, image: int, answer: Answer) -> bool:
        """The best label is another one than before, and not for want of a digit."""
        first = self._first[image]
        if first is None:
            with self._lock:
                first = self._first[image] = self._first[image] or answer
        best = first.predictions[0]
        now = answer.predictions[0]
        if now.label == best.label:
            return abs(now.probability - best.probability) > TOLERANCE
        return now.probability - _probability(answer, best.label) > TOLERANCE


def _probability(answer: Answer, label: str) -> float:
    return next((p.probability for p in answer.predictions if p.label == label), 0.0)
