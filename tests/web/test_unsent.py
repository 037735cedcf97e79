"""What clients have not taken of their answers is counted, piece by piece, and files once."""

from __future__ import annotations

from pathlib import Path

from imagequeue.web.unsent import Outbox, UnsentAnswers


def test_a_piece_counts_as_a_whole_until_its_last_byte_has_gone() -> None:
    account = UnsentAnswers(100)
    outbox = Outbox(account)
    outbox.put(memoryview(b"abcdef")[2:], counted=6)
    outbox.put(memoryview(b"gh"), counted=2)
    assert (account.bytes, outbox.counted) == (8, 8)
    outbox.sent(3)
    assert bytes(outbox.first) == b"f"
    assert account.bytes == 8, "the bytes of one piece are let go together"
    outbox.sent(1)
    assert bytes(outbox.first) == b"gh"
    assert account.bytes == 2
    outbox.clear()
    assert not outbox
    assert account.bytes == 0


def test_it_is_full_when_all_connections_together_hold_as_much_as_they_may() -> None:
    account = UnsentAnswers(10)
    one, other = Outbox(account), Outbox(account)
    one.put(memoryview(bytes(6)), counted=6)
    assert not account.is_full
    other.put(memoryview(bytes(6)), counted=6)
    assert account.is_full
    one.clear()
    assert not account.is_full


def test_a_file_that_was_changed_is_another(tmp_path: Path) -> None:
    account = UnsentAnswers()
    file = tmp_path / "page.js"
    file.write_bytes(b"old")
    with file.open("rb") as opened:
        old = account.file(opened)
        assert account.file(opened) is old
    file.write_bytes(b"newer")
    with file.open("rb") as opened:
        assert account.file(opened).content == b"newer"
    assert old.content == b"old"
