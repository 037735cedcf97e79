"""The web process's memory, at its worst: many uploads at once, each as large in pixels as is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from imagequeue.client import Answer
from tests.support.load import send_all
from tests.support.pictures import encode
from tests.support.redisserver import RedisServer
from tests.support.system import System

MAX_PIXELS = 6_250_000
SIDE = 2500
# docs/internals.md: what the greediest decoder (WebP) needs for each pixel, and a process without any upload, with what
# its heaps keep. A second image at the same time would be 112 MB more.
BYTES_A_PIXEL = 18
AT_REST = 96 * 2**20

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")


def peak_bytes(pid: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def test_it_stays_within_the_bound_of_the_docs_however_many_large_images_come_at_once(
    redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    system = make_system(redis_server, MAX_IMAGE_PIXELS=MAX_PIXELS).start()
    image = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGBA")
    files = [
        encode(image, "WEBP", method=0, quality=1),
        encode(image.convert("RGB"), "JPEG", progressive=True, subsampling=0),
        encode(image, compress_level=1),
    ]
    answers = send_all(system.urls, files * 4, connections=12)
    assert all(isinstance(answer, Answer) for answer in answers), answers
    master = system.webs[0].pid
    (child,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    bound = AT_REST + BYTES_A_PIXEL * MAX_PIXELS + sum(map(len, files * 4))
    assert peak_bytes(child) < bound
    # As much as one such image takes, or the test has tested nothing.
    assert peak_bytes(child) > BYTES_A_PIXEL * MAX_PIXELS / 2
