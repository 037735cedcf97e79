"""Lines that anybody can cause: a few are written, the rest is counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from imagequeue.throttle import MAX_KINDS, Throttle
from tests.support.logs import run
from tests.support.system import eventually


@pytest.fixture
def counted() -> Iterator[list[dict[str, object]]]:
    """The fields of each line that counts what was left out."""
    found: list[dict[str, object]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "log_lines_left_out":
                found.append(record.__dict__["fields"])

    collector, logger = Collector(), logging.getLogger("imagequeue")
    logger.addHandler(collector)
    yield found
    logger.removeHandler(collector)


def test_a_few_of_each_kind_are_let_through_and_the_rest_is_counted(counted: list[dict[str, object]]) -> None:
    throttle = Throttle(most=3, window=0.2)
    assert [throttle.admits("a") for _ in range(10)] == [True] * 3 + [False] * 7
    assert throttle.admits("b"), "each kind has lines of its own"
    eventually(lambda: counted)
    assert counted == [{"kind": "a", "lines": 7}]
    assert throttle.admits("a"), "after the count there are lines again"


def test_what_is_rare_is_never_counted(counted: list[dict[str, object]]) -> None:
    throttle = Throttle(most=1, window=0.0)
    assert all(throttle.admits("a") for _ in range(50))
    assert not counted


def test_no_line_is_lost_from_the_count_whatever_threads_write_them(counted: list[dict[str, object]]) -> None:
    throttle, admitted = Throttle(most=5, window=0.05), []

    def write() -> None:
        admitted.extend(throttle.admits("a") for _ in range(2000))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: sum(int(str(line["lines"])) for line in counted) + admitted.count(True) == 8000)


def test_the_kinds_are_bounded() -> None:
    throttle = Throttle(most=1, window=60)
    for number in range(MAX_KINDS):
        throttle.admits(f"kind {number}")
    assert [throttle.admits(f"more {number}") for number in range(3)] == [True, False, False]


def test_a_child_that_was_forked_while_a_thread_had_the_lock_writes_its_lines() -> None:
    ended = run(
        """
        from imagequeue.throttle import Throttle
        throttle = Throttle(most=1, window=60)
        throttle.admits("a")
        throttle._lock.acquire()
        if os.fork() == 0:
            os._exit(0 if throttle.admits("a") and not throttle.admits("a") else 1)
        print(os.wait()[1])
        """
    )
    assert ended.stdout == "0\n"
