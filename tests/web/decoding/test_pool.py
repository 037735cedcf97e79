"""The decoders of a web process: nothing that a file does to one of them is anybody else's business."""

from __future__ import annotations

import os
import signal
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from imagequeue import images
from imagequeue.errors import BadImage, ClientGone, DeadlineExceeded, ServerBusy, TooLarge
from imagequeue.web.decoding import pool as pools
from imagequeue.web.decoding import wire
from imagequeue.web.decoding.decoder import Decoder, DecoderDied
from imagequeue.web.decoding.pool import decoders_for
from imagequeue.web.decoding.tasks import BYTES_PER_PIXEL, SMALL_BYTES
from tests.support.decoding import MAX_BYTES, MAX_PIXELS, SIZE, Pool, state, turn
from tests.support.pictures import encode, picture
from tests.support.segments import png, png_chunk, png_header
from tests.support.system import eventually

LARGE = SMALL_BYTES // BYTES_PER_PIXEL + 1


def large_picture() -> bytes:
    from PIL import Image

    return encode(Image.new("L", (4000, -(-LARGE // 4000)), 7))


def test_a_decoder_gives_the_pixels_that_decoding_here_would(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    for number, format in enumerate(("PNG", "JPEG", "WEBP", "GIF", "BMP")):
        upload = picture(number, format=format)
        here = images.decode(upload, size=SIZE, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
        assert pool.pixels(upload) == here, format


def test_a_refusal_says_the_same_as_here(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    with pytest.raises(BadImage):
        pool.pixels(b"not an image")
    with pytest.raises(TooLarge, match=str(MAX_BYTES)):
        pool.pixels(bytes(MAX_BYTES + 1))


def test_images_are_decoded_by_as_many_processes_as_there_are_decoders(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(decoders=3)
    with ThreadPoolExecutor(12) as threads:
        uploads = [picture(number) for number in range(60)]
        found = list(threads.map(pool.pixels, uploads))
    assert found == [images.decode(u, size=SIZE, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS) for u in uploads]
    assert 1 <= len(pool.decoders()) <= 3


def test_a_decoder_that_does_not_reply_in_time_is_ended_and_replaced(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.pixels(picture(1))
    (frozen,) = pool.freeze()
    with pytest.raises(DeadlineExceeded):
        pool.pixels(picture(2), seconds=0.2)
    eventually(lambda: state(frozen) in ("", "Z"), what=f"{frozen} ends")
    assert pool.pixels(picture(3))
    assert frozen not in pool.decoders()


def test_a_client_that_hangs_up_ends_what_is_decoded_for_it(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.pixels(picture(1))
    (frozen,) = pool.freeze()
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as threads, ours:
        asked = threads.submit(pool.pixels, picture(2), 60.0, ours)
        eventually(lambda: pool.has_taken(frozen))
        theirs.close()
        with pytest.raises(ClientGone):
            asked.result(20)
    eventually(lambda: state(frozen) in ("", "Z"), what=f"{frozen} ends")


def test_what_waits_for_a_decoder_ends_at_its_deadline_and_when_its_client_hangs_up(
    make_pool: Callable[..., Pool],
) -> None:
    pool = make_pool(decoders=2)
    held = [pool._take(turn(20)) for _ in range(2)]
    with pytest.raises(DeadlineExceeded):
        pool.pixels(picture(1), seconds=0.2)
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as threads, ours:
        asked = threads.submit(pool.pixels, picture(2), 60.0, ours)
        eventually(lambda: len(pool._waiting) == 1)
        theirs.close()
        with pytest.raises(ClientGone):
            asked.result(20)
    assert not pool._waiting
    for decoder in held:
        pool._give_back(decoder)
    assert pool.pixels(picture(3))


def test_those_that_wait_for_a_decoder_get_one_in_the_order_in_which_they_came(
    make_pool: Callable[..., Pool],
) -> None:
    pool = make_pool(decoders=1)
    held, order = pool._take(turn(20)), []

    def ask(number: int) -> None:
        pool.pixels(picture(number))
        order.append(number)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        eventually(lambda: len(pool._waiting) == len(threads))
    pool._give_back(held)
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4]


def test_an_image_whose_decoder_is_killed_is_decoded_by_another(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.pixels(picture(1))
    (frozen,) = pool.freeze()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(pool.pixels, picture(2))
        eventually(lambda: pool.has_taken(frozen))
        os.kill(frozen, signal.SIGKILL)
        assert asked.result(20) == images.decode(picture(2), size=SIZE, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)


def test_a_file_that_ends_every_decoder_is_refused(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, asked = make_pool(), []

    def die(decoder: Decoder, *arguments: object, **options: object) -> None:
        asked.append(decoder.pid)
        raise DecoderDied("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Decoder, "ask", die)
        with pytest.raises(BadImage, match="ends the process"):
            pool.pixels(picture(1))
    assert len(set(asked)) == pools.MOST_DEATHS
    assert pool.pixels(picture(1))


def test_decoders_that_died_with_nothing_to_do_are_not_the_next_files_doing(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(decoders=3)
    pool.start()
    eventually(lambda: None not in pool._idle)
    killed = pool.decoders()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not pool.decoders(), what=f"{killed} end")
    for number in range(4):
        assert pool.pixels(picture(number))


def test_a_pool_that_could_start_no_decoder_becomes_ready_without_a_request(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, tries = make_pool(), []
    monkeypatch.setattr(pools, "RETRY_SECONDS", 0.05)

    def fail(until: float) -> Decoder:
        tries.append(until)
        raise OSError("no process")

    with monkeypatch.context() as patched:
        patched.setattr(pool._spawner, "spawn", fail)
        pool.start()
        eventually(lambda: tries)
        assert not pool.is_ready
    eventually(lambda: pool.is_ready)


def test_a_spawner_that_is_killed_is_started_again(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.pixels(picture(1))
    first = pool.spawner
    for pid in (*pool.decoders(), first):
        os.kill(pid, signal.SIGKILL)
    assert pool.pixels(picture(2))
    assert pool.spawner != first


def test_a_system_that_gives_no_process_is_a_refusal_and_no_decoder_is_lost(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool()

    def fail(until: float) -> Decoder:
        raise OSError("no process")

    with monkeypatch.context() as patched:
        patched.setattr(pool._spawner, "spawn", fail)
        for _ in range(4):
            with pytest.raises(ServerBusy):
                pool.pixels(picture(1))
        assert not pool.is_ready
    assert pool.pixels(picture(1))
    assert pool.is_ready


def test_large_images_take_turns_and_small_ones_do_not_wait_for_them(make_pool: Callable[..., Pool]) -> None:
    pool, large = make_pool(decoders=2), large_picture()
    with pool._large.turn_of(SMALL_BYTES, turn(20)):
        with pytest.raises(DeadlineExceeded):
            pool.pixels(large, seconds=1.0)
        assert pool.pixels(picture(1))
    assert pool.pixels(large)


def test_a_decoder_of_a_large_image_ends_and_gives_its_memory_back(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.pixels(picture(1))
    before = pool.decoders()
    pool.pixels(large_picture())
    eventually(lambda: not set(before) & set(pool.decoders()), what=f"{before} end")


def test_a_pool_that_is_started_has_all_its_decoders_before_anybody_asks(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(decoders=3)
    pool.start()
    eventually(lambda: None not in pool._idle)
    assert pool.is_ready
    started = set(pool.decoders())
    assert len(started) == 3
    assert pool.pixels(picture(1))
    assert set(pool.decoders()) == started


def test_stopping_ends_every_process(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.pixels(picture(1))
    processes = [pool.spawner, *pool.decoders()]
    assert len(processes) == 2
    pool.stop()
    eventually(lambda: all(state(pid) in ("", "Z") for pid in processes), what=f"{processes} end")


def test_a_decoder_has_one_descriptor_and_can_open_none(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    # A spawner that is started again while the process has many has one with a high number.
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    pool.pixels(picture(1))
    for descriptor in many:
        os.close(descriptor)
    (pid,) = pool.decoders()
    opened = {int(file.name): os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
    assert sorted(opened) == [0, 1, 2, 3]
    assert [opened[standard] for standard in (0, 1, 2)] == ["/dev/null"] * 3
    assert opened[3].startswith("socket:")
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    assert limit(limits, "Max open files") == 4
    assert limit(limits, "Max file size") == 0
    assert 0 < limit(limits, "Max address space") < 4 * 2**30
    assert 0 < limit(limits, "Max cpu time") < 60


def limit(limits: list[str], name: str) -> int:
    (line,) = [line for line in limits if line.startswith(name)]
    return int(line.removeprefix(name).split()[0])


def test_a_decoder_that_a_file_has_taken_over_cannot_fill_the_web_process(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, answering = make_pool(), []

    def answer_too_much(connection: socket.socket) -> None:
        wire.receive(connection)
        # Nobody takes it.
        with suppress(OSError):
            wire.send(connection, {}, [bytes(100_000)])

    def spawn(until: float) -> Decoder:
        ours, theirs = socket.socketpair()
        answering.append(threading.Thread(target=answer_too_much, args=(theirs,)))
        answering[-1].start()
        return Decoder(ours, 1, lambda pid: None)

    monkeypatch.setattr(pool._spawner, "spawn", spawn)
    with pytest.raises(BadImage):
        pool.pixels(picture(1))
    for thread in answering:
        thread.join(20)
    assert len(answering) == pools.MOST_DEATHS


def test_neither_the_spawner_nor_a_decoder_knows_a_secret(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEYS", "alice:hidden-key")
    monkeypatch.setenv("REDIS_URL", "redis://:hidden-password@127.0.0.1:1/0")
    pool = make_pool()
    pool.pixels(picture(1))
    for pid in (pool.spawner, *pool.decoders()):
        assert b"hidden" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize(("processors", "processes", "decoders"), [(1, 1, 2), (2, 1, 3), (2, 2, 2), (16, 4, 5)])
def test_the_processors_are_shared_out_and_one_decoder_is_always_left_to_small_images(
    processors: int, processes: int, decoders: int
) -> None:
    assert decoders_for(processors, processes) == decoders


def test_an_image_that_takes_more_memory_than_a_decoder_has_is_too_large(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool._image["max_pixels"] = 10**10
    # 65,000 x 65,000 pixels of one bit, compressed a thousand times, would be four gigabytes.
    with pytest.raises(TooLarge, match="memory"):
        pool.pixels(png(png_header(65_000, 65_000, depth=1, colour=0), png_chunk(b"IDAT", zlib.compress(bytes(8126)))))
