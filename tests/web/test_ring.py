"""A ring holds the latest whole records, and whoever maps its file sees them."""

from __future__ import annotations

import threading
from pathlib import Path

from imagequeue.web.ring import Ring, records


def test_an_unused_ring_has_no_records() -> None:
    assert list(Ring(4, 3).read()) == []


def test_the_oldest_records_are_overwritten() -> None:
    ring = Ring(1, 3)
    for record in (b"a", b"b", b"c", b"d"):
        ring.add(record)
    assert set(ring.read()) == {b"b", b"c", b"d"}


def test_the_file_shows_what_was_added(tmp_path: Path) -> None:
    ring = Ring(2, 5, tmp_path / "ring")
    ring.add(b"xy")
    ring.add(b"\0\0")
    assert list(records((tmp_path / "ring").read_bytes(), 2)) == [b"xy", b"\0\0"]


def test_a_record_that_is_half_written_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "ring"
    ring = Ring(8, 2, file)
    ring.add(b"complete")
    ring.add(b"oldoldol")
    content = bytearray(file.read_bytes())
    content[-8:-4] = b"new!"
    assert list(records(bytes(content), 8)) == [b"complete"]
    assert list(records(bytes(content[:-3]), 8)) == [b"complete"]


def test_a_file_that_a_process_with_the_same_id_left_is_made_anew(tmp_path: Path) -> None:
    Ring(2, 5, tmp_path / "ring").add(b"xy")
    assert list(Ring(2, 5, tmp_path / "ring").read()) == []


def test_threads_take_a_slot_each() -> None:
    ring = Ring(4, 4000)

    def add(thread: int) -> None:
        for number in range(1000):
            ring.add(bytes((thread,)) + number.to_bytes(3, "big"))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ring.read())) == 4000
