"""Requests at a fixed rate, whatever becomes of them: the clients of an overload that lasts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A request that has no answer by then is counted as unanswered.
PATIENCE = 60.0


@dataclass(frozen=True)
class Reply:
    """What became of one request. sent, ended: seconds since the load began. code: of an error; empty for an answer."""

    number: int
    sent: float
    ended: float
    status: int
    code: str
    label: str
    retry_after: str

    @property
    def ms(self) -> float:
        return (self.ended - self.sent) * 1000


def send(
    port: int, image_of: Callable[[int], bytes], *, rate: float, seconds: float, headers: str = "", first: int = 0
) -> list[Reply]:
    """`rate` requests a second for so many seconds, evenly spread, each on a connection of its own.

    image_of: the image of each request, by its number; numbers begin with `first`. headers: more lines of each head.
    """
    return asyncio.run(_send(port, image_of, rate, seconds, headers, first))


async def _send(
    port: int, image_of: Callable[[int], bytes], rate: float, seconds: float, headers: str, first: int
) -> list[Reply]:
    began = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(_one(port, first + number, image_of(first + number), headers, began)))
    return list(await asyncio.gather(*tasks))


async def _one(port: int, number: int, image: bytes, headers: str, began: float) -> Reply:
    sent = time.perf_counter() - began
    status, code, label, retry_after = 0, "unanswered", "", ""
    try:
        async with _timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST /predict?top=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
                b"Connection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (headers.encode(), len(image), image)
            )
            received = await reader.read()
            writer.close()
        head, _, body = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        document = json.loads(body)
        code = document["error"]["code"] if "error" in document else ""
        label = document["predictions"][0]["label"] if status == 200 else ""
        found = [line for line in head.decode("latin-1").split("\r\n") if line.lower().startswith("retry-after:")]
        retry_after = found[0].partition(":")[2].strip() if found else ""
    except (OSError, TimeoutError, asyncio.TimeoutError, ValueError, IndexError, KeyError) as error:
        code = code or repr(error)
        if status == 0:
            code = f"unanswered: {type(error).__name__}"
    return Reply(number, sent, time.perf_counter() - began, status, code, label, retry_after)


class _timeout:
    """asyncio.timeout, which Python 3.10 does not have."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handle = asyncio.get_running_loop().call_later(self._seconds, task.cancel)

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._handle.cancel()
        if kind is asyncio.CancelledError:
            raise TimeoutError(f"no answer within {self._seconds:.0f} s")


def in_windows(replies: Sequence[Reply], seconds: float, window: float) -> list[float]:
    """Answers a second in each whole window of the load."""
    counts = [0] * int(seconds / window)
    for reply in replies:
        place = int(reply.ended / window)
        if reply.status == 200 and place < len(counts):
            counts[place] += 1
    return [count / window for count in counts]
