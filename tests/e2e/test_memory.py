"""The memory of a web process and of its decoders, at its worst: many uploads at once, each as large as is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from imagequeue.client import Answer
from imagequeue.web.decoding.tasks import BYTES_PER_PIXEL, SMALL_BYTES
from tests.support.decoding import children
from tests.support.load import send_all
from tests.support.pictures import encode
from tests.support.redisserver import RedisServer
from tests.support.system import System

MAX_PIXELS = 12_250_000
SIDE = 3500
# docs/internals.md: a web process without any upload, and a decoder without an image, each with what its heap keeps.
AT_REST, DECODER = 96 * 2**20, 64 * 2**20

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")


def resident_bytes(pid: int, what: str = "VmRSS") -> int:
    """0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().split(f"{what}:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


class Watch:
    """The most that the decoders of a web process had together."""

    def __init__(self, web_process: int) -> None:
        self.most = 0
        self._web_process = web_process
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.005):
            try:
                decoders = [pid for spawner in children(self._web_process) for pid in children(spawner)]
            except OSError:
                continue
            self.most = max(self.most, sum(map(resident_bytes, decoders)))


def test_it_stays_within_the_bound_of_the_docs_however_many_large_images_come_at_once(
    redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    system = make_system(redis_server, MAX_IMAGE_PIXELS=MAX_PIXELS).start()
    image = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGBA")
    files = [
        encode(image, "WEBP", method=0, quality=1),
        encode(image.convert("RGB"), "JPEG", progressive=True, subsampling=0),
        encode(image, compress_level=1),
        encode(image, "AVIF", speed=10, subsampling="4:4:4"),
        # Of the format that takes the most memory, as many pixels as are taken.
        encode(image.resize((2700, 2700)), "JPEG2000", quality_layers=[40], quality_mode="rates"),
    ]
    (web_process,) = system.webs[0].children()
    with Watch(web_process) as watch:
        answers = send_all(system.urls, files * 3, connections=12)
    assert all(isinstance(answer, Answer) for answer in answers), answers
    assert resident_bytes(web_process, "VmHWM") < AT_REST + sum(map(len, files * 3))
    # As much as one such image takes, or the test has tested nothing.
    assert watch.most > BYTES_PER_PIXEL * MAX_PIXELS / 2
    # One large image at a time for each two processors here; the decoder that is left has no more than a small one.
    count = len(children(children(web_process)[0]))
    assert watch.most < BYTES_PER_PIXEL * MAX_PIXELS + count * (SMALL_BYTES + DECODER)
