"""The threads of a web process, the one that has rested shortest called first.

The standard pool has its idle threads wait on one lock, and each task that comes wakes two of them: the second finds
nothing, but has wanted the interpreter's lock meanwhile. It also calls them in turn, so that of 500 none finds
anything of its own in a cache. Here every thread sleeps on a lock of its own, and the last to lie down is the
first to be woken.

Python waits for a thread that it begins until that runs, for as long as others keep the interpreter's lock from it:
half a second for 500 of them, which the event loop must not lose. So another thread begins them.
"""

from __future__ import annotations

import queue
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
        # The thread that begins the others, and their names; None ends it.
        self._beginner: threading.Thread | None = None
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def submit(self, call: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Have a call done by a thread; it waits in line where all are busy, and where no more can be begun.

        Raises:
            RuntimeError: after the end, or the system gives not even a first thread.
        """
        task = Task(partial(call, *args, **options))
        with self._lock:
            if self._is_ending:
                raise RuntimeError("no task is taken after the end")
            if self._asleep:
                self._asleep.pop().wake(task)
                return task.future
            if self._beginner is None:
                beginner = threading.Thread(target=self._begin_threads, name="beginner", daemon=True)
                beginner.start()
                self._beginner = beginner
            self._waiting.append(task)
            if self._count < self._size:
                self._count += 1
                self._wanted.put(f"request-{self._count}")
        return task.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Idle threads end, and busy ones after their task."""
        with self._lock:
            self._is_ending = True
            self._wanted.put(None)
            while self._asleep:
                self._asleep.pop().wake(None)

    def _begin_threads(self) -> None:
        while name := self._wanted.get():
            with self._lock:
                if not self._waiting:
                    # Another thread was free before this one was begun.
                    self._count -= 1
                    continue
            try:
                threading.Thread(target=self._work, name=name, daemon=True).start()
            except RuntimeError:
                # A container's limit of processes, or no memory for a stack: those that are there have to do.
                with self._lock:
                    self._count -= 1
                    is_alone = not self._count
                while is_alone and (task := self._take(None)):
                    task.run()

    def _work(self) -> None:
        sleeper = Sleeper()
        while task := self._take(sleeper) or sleeper.sleep():
            task.run()
            del task

    def _take(self, sleeper: Sleeper | None) -> Task | None:
        """The task that has waited longest; where there is none, the next one wakes the sleeper."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if sleeper is not None:
                if self._is_ending:
                    sleeper.wake(None)
                else:
                    self._asleep.append(sleeper)
        return None
