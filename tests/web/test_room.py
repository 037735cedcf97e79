"""How much is decoded at the same time."""

from __future__ import annotations

import threading

import pytest

from imagequeue.web.room import DecodingRoom
from tests.support.system import eventually


class Decoding:
    """A thread that has asked for room, and gives it back when told to."""

    def __init__(self, room: DecodingRoom, pixels: int) -> None:
        self.is_inside = threading.Event()
        self._leave = threading.Event()
        self._room = room
        self._pixels = pixels
        self._thread = threading.Thread(target=self._decode, daemon=True)
        self._thread.start()

    def _decode(self) -> None:
        with self._room.decoder(), self._room.pixels(self._pixels):
            self.is_inside.set()
            self._leave.wait(20)

    def end(self) -> None:
        self._leave.set()
        self._thread.join(20)


def waits(decoding: Decoding) -> bool:
    return not decoding.is_inside.wait(0.05)


def test_small_images_are_decoded_side_by_side() -> None:
    room = DecodingRoom(decoders=2, max_pixels=100)
    both = [Decoding(room, 50), Decoding(room, 50)]
    assert all(decoding.is_inside.wait(20) for decoding in both)
    for decoding in both:
        decoding.end()


def test_more_than_there_are_decoders_wait() -> None:
    room = DecodingRoom(decoders=1, max_pixels=100)
    first, second = Decoding(room, 1), Decoding(room, 1)
    eventually(lambda: first.is_inside.is_set() or second.is_inside.is_set())
    inside, outside = (first, second) if first.is_inside.is_set() else (second, first)
    assert waits(outside)
    inside.end()
    assert outside.is_inside.wait(20)
    outside.end()


def test_together_they_have_no_more_pixels_than_the_largest_image() -> None:
    room = DecodingRoom(decoders=3, max_pixels=100)
    first = Decoding(room, 60)
    assert first.is_inside.wait(20)
    second = Decoding(room, 41)
    assert waits(second)
    first.end()
    assert second.is_inside.wait(20)
    second.end()


def test_small_images_do_not_overtake_a_large_one_that_waits() -> None:
    room = DecodingRoom(decoders=3, max_pixels=100)
    first = Decoding(room, 60)
    assert first.is_inside.wait(20)
    large = Decoding(room, 100)
    assert waits(large)
    small = Decoding(room, 1)
    assert waits(small)
    first.end()
    assert large.is_inside.wait(20)
    assert waits(small)
    large.end()
    assert small.is_inside.wait(20)
    small.end()


def test_an_image_that_cannot_be_decoded_gives_its_room_back() -> None:
    room = DecodingRoom(decoders=1, max_pixels=100)
    for _ in range(3):
        with pytest.raises(OSError, match="broken"), room.decoder(), room.pixels(100):
            raise OSError("broken")
    last = Decoding(room, 100)
    assert last.is_inside.wait(20)
    last.end()
