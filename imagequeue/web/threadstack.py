"""The threads of a web process, the one that has rested shortest called first.

The standard pool has its idle threads wait on one lock, and each task that comes wakes two of them: the second finds
nothing, but has wanted the interpreter's lock meanwhile. It also calls them in turn, so that of 500 none finds
anything of its own in a cache. Here every thread sleeps on a lock of its own, and the last to lie down is the
first to be woken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any


class Task:
    """A call, and the promise of its outcome."""

    __slots__ = ("_call", "future")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.future: Future[Any] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            outcome = self._call()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(outcome)


class Sleeper:
    """A thread that waits for its next task."""

    __slots__ = ("_bell", "_task")

    def __init__(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self._task: Task | None = None

    def wake(self, task: Task | None) -> None:
        self._task = task
        self._bell.release()

    def sleep(self) -> Task | None:
        self._bell.acquire()
        # A task holds its connection, and the next one may be long in coming.
        task, self._task = self._task, None
        return task


class ThreadStack(Executor):
    """Up to `size` daemon threads, begun when they are needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = 0
        self._asleep: list[Sleeper] = []
        self._waiting: deque[Task] = deque()
        self._lock = threading.Lock()
        self._is_ending = False

    def submit(self, call: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Have a call done by a thread; it waits in line where all are busy, and where no more can be begun.

        Raises:
            RuntimeError: after the end, or the system gives not even a first thread.
        """
        task = Task(partial(call, *args, **options))
        with self._lock:
            if self._is_ending:
                raise RuntimeError("no task is taken after the end")
            if self._is_placed(task, enough=self._size):
                return task.future
            self._count += 1
            number = self._count
        sleeper = Sleeper()
        sleeper.wake(task)
        try:
            threading.Thread(target=self._work, args=(sleeper,), name=f"request-{number}", daemon=True).start()
        except RuntimeError:
            # A container's limit of processes, or no memory for a stack: those that are there have to do.
            with self._lock:
                self._count -= 1
                if self._is_ending or not self._is_placed(task, enough=1):
                    raise
        return task.future

    def _is_placed(self, task: Task, *, enough: int) -> bool:
        """Give the task to a thread that sleeps, or have it wait where there are `enough` threads; the lock is held."""
        if self._asleep:
            self._asleep.pop().wake(task)
            return True
        if self._count >= enough:
            self._waiting.append(task)
            return True
        return False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Idle threads end, and busy ones after their task."""
        with self._lock:
            self._is_ending = True
            while self._asleep:
                self._asleep.pop().wake(None)

    def _work(self, sleeper: Sleeper) -> None:
        while task := sleeper.sleep():
            task.run()
            del task
            with self._lock:
                if self._waiting:
                    sleeper.wake(self._waiting.popleft())
                elif self._is_ending:
                    return
                else:
                    self._asleep.append(sleeper)
