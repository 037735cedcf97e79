"""The clients of a soak: a steady load of pictures, each refused one sent again, each answer looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from bench.gallery import Gallery, Picture
from bench.tally import Tally
from imagequeue.client import Client, ServerAway
from imagequeue.errors import DeadlineExceeded, ImageQueueError, JobFailed, TooMany, Unavailable

CLIENTS = 96
# An image that nobody takes for so long counts as lost: somebody waits in vain.
PATIENCE = 120.0


class Crowd:
    """Clients that send picture after picture, `rate` a second in all, and insist when they are refused."""

    def __init__(
        self,
        urls: Sequence[str],
        gallery: Gallery,
        tally: Tally,
        *,
        rate: float,
        seconds: float,
        poison: float,
        killing: float,
    ) -> None:
        """rate: pictures a second, for so many seconds. poison, killing: see Gallery.pick."""
        self._urls, self._gallery, self._tally = urls, gallery, tally
        self._rate, self._seconds, self._poison, self._killing = rate, seconds, poison, killing
        self._lock = threading.Lock()
        self._number = 0
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._send_for_ever, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=2 * PATIENCE)
            if thread.is_alive():
                self._tally.count("lost")

    def _send_for_ever(self, place: int) -> None:
        with Client(self._urls[place % len(self._urls)], retries=0, timeout=PATIENCE) as client:
            while True:
                with self._lock:
                    number, self._number = self._number, self._number + 1
                due = number / self._rate
                if due >= self._seconds:
                    return
                time.sleep(max(0.0, self._started + due - time.monotonic()))
                self._insist(client, self._gallery.pick(number, self._poison, self._killing))

    def _insist(self, client: Client, sent: Picture) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                answer = client.predict(sent.upload, top=1)
            except ServerAway as error:
                self._lose(f"the connection broke: {error.message}")
                return
            except (Unavailable, TooMany) as error:
                if error.code == "job_lost":
                    self._lose("Redis forgot an accepted job")
                    return
                self._tally.refuse(error.code)
                time.sleep(min(2.0, getattr(error, "retry_after", 1)))
            except DeadlineExceeded:
                self._lose("not answered before its deadline")
                return
            except JobFailed as error:
                if error.code == "job_failed" and self._gallery.is_poison(sent):
                    self._tally.count("convicted")
                else:
                    self._tally.mistake(f"{sent.label}: {error.code}: {error.message}")
                return
            except ImageQueueError as error:
                self._tally.mistake(f"{sent.label}: {error.code}: {error.message}")
                return
            else:
                best = answer.predictions[0]
                is_right = best.label == sent.label and abs(best.probability - sent.probability) < 0.01
                if is_right and not self._gallery.is_poison(sent):
                    self._tally.answer(answer.id)
                else:
                    self._tally.mistake(f"{sent.label}: answered {best.label} {best.probability:.4f}")
                return
        self._lose(f"refused for {PATIENCE:.0f} s")

    def _lose(self, why: str) -> None:
        self._tally.count("lost")
        self._tally.wrong.append(f"lost: {why}")
