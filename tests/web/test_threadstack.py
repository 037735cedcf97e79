"""The threads of a web process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait

import pytest

from imagequeue.web.threadstack import ThreadStack
from tests.support.system import eventually


@pytest.fixture
def stack() -> ThreadStack:
    return ThreadStack(3)


def test_a_task_is_done_with_what_it_was_given_and_tells_its_outcome(stack: ThreadStack) -> None:
    assert stack.submit(divmod, 17, 5).result(9) == (3, 2)
    assert stack.submit(int, "ff", base=16).result(9) == 255


def test_an_error_is_the_tasks_outcome_and_does_no_harm_to_its_thread(stack: ThreadStack) -> None:
    with pytest.raises(SystemExit):
        stack.submit(lambda: (_ for _ in ()).throw(SystemExit(3))).result(9)
    assert stack.submit(lambda: 1).result(9) == 1


def test_the_last_to_lie_down_is_the_first_to_be_woken(stack: ThreadStack) -> None:
    names = [stack.submit(lambda: threading.current_thread().name).result(9)]
    for _ in range(20):
        # Its thread lies down just after the outcome is told.
        eventually(lambda: len(stack._asleep) == 1)
        names.append(stack.submit(lambda: threading.current_thread().name).result(9))
    assert len(set(names)) == 1, "one at a time needs one thread"


def test_what_comes_while_all_are_busy_waits_in_line(stack: ThreadStack) -> None:
    go, seen = threading.Event(), []

    def task(number: int) -> Callable[[], None]:
        def work() -> None:
            go.wait(9)
            seen.append(number)

        return work

    busy = [stack.submit(go.wait, 9) for _ in range(3)]
    waiting = [stack.submit(task(number)) for number in range(50)]
    assert not seen
    go.set()
    assert not wait([*busy, *waiting], timeout=9).not_done
    assert sorted(seen) == list(range(50))


def test_no_more_threads_than_allowed_are_begun() -> None:
    stack, seen = ThreadStack(2), set()

    def work() -> None:
        seen.add(threading.get_ident())

    assert not wait([stack.submit(work) for _ in range(200)], timeout=9).not_done
    assert 1 <= len(seen) <= 2


def test_where_no_thread_can_be_begun_a_task_waits_for_those_there_are_and_no_place_is_lost(
    stack: ThreadStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    go = threading.Event()
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            stack.submit(print)
    busy = stack.submit(go.wait, 9)
    eventually(busy.running)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        waiting = [stack.submit(threading.get_ident) for _ in range(5)]
        eventually(lambda: stack._wanted.empty() and stack._count == 1)
    go.set()
    assert busy.result(9)
    assert len({task.result(9) for task in waiting}) == 1
    together = threading.Barrier(3)
    assert not wait([stack.submit(together.wait, 9) for _ in range(3)], timeout=9).not_done, "three at once again"
    assert not together.broken


def test_where_the_first_thread_cannot_be_begun_its_task_is_done_all_the_same(
    stack: ThreadStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name != "beginner":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert stack.submit(divmod, 17, 5).result(9) == (3, 2)


def test_whoever_submits_does_not_wait_for_a_thread_to_begin(
    stack: ThreadStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.submit(print).result(9)
    start, begun = threading.Thread.start, threading.Event()

    def start_late(thread: threading.Thread) -> None:
        assert begun.wait(9)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    busy = stack.submit(begun.wait, 9)
    task = stack.submit(threading.get_ident)
    begun.set()
    assert busy.result(9)
    assert task.result(9)


def test_many_who_submit_at_once_all_have_their_tasks_done() -> None:
    stack, done = ThreadStack(4), []

    def submit_many() -> None:
        wait([stack.submit(done.append, None) for _ in range(300)], timeout=20)

    submitters = [threading.Thread(target=submit_many) for _ in range(8)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join(30)
    assert len(done) == 2400


def test_after_the_end_idle_threads_are_gone_and_busy_ones_finish(stack: ThreadStack) -> None:
    go, busy = threading.Event(), threading.Event()

    def work() -> threading.Thread:
        busy.set()
        go.wait(9)
        return threading.current_thread()

    task = stack.submit(work)
    busy.wait(9)
    idle = stack.submit(threading.current_thread).result(9)
    eventually(lambda: len(stack._asleep) == 1)
    stack.shutdown(wait=False)
    idle.join(9)
    assert not idle.is_alive()
    with pytest.raises(RuntimeError):
        stack.submit(print)
    go.set()
    finished = task.result(9)
    finished.join(9)
    assert not finished.is_alive()
