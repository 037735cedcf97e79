"""Many requests at once, every answer kept in the order of the images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from imagequeue.client import Answer, Client
from imagequeue.errors import ImageQueueError


def send_all(
    urls: Sequence[str],
    images: Sequence[bytes],
    connections: int,
    on_answer: Callable[[int], object] = lambda done: None,
    *,
    top: int | None = None,
) -> list[Answer | ImageQueueError | None]:
    """Each image once, over `connections` kept-alive connections spread over `urls`; None where nothing came back.

    on_answer: called with the number of answers so far, from any thread.
    """
    answers: list[Answer | ImageQueueError | None] = [None] * len(images)
    numbers = iter(range(len(images)))
    lock = threading.Lock()
    done = 0

    def send(url: str) -> None:
        nonlocal done
        with Client(url, retries=0) as client:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    answers[number] = client.predict(images[number], top=top)
                except ImageQueueError as error:
                    answers[number] = error
                with lock:
                    done += 1
                on_answer(done)

    threads = [threading.Thread(target=send, args=(urls[i % len(urls)],)) for i in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def null_label(image: bytes, size: tuple[int, int] = (224, 224)) -> str:
    """What the null model answers for an image file."""
    from imagequeue import images
    from imagequeue.model import null_class

    return f"null_{null_class(images.decode(image, size=size, max_bytes=2**24, max_pixels=10**8))}"
