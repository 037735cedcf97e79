"""Gunicorn around the application: how processes start, how they end, what they do with memory."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from imagequeue.events import log
from imagequeue.throttle import Throttle
from imagequeue.web import descriptors
from imagequeue.web.doorman import Doorman
from imagequeue.web.draining import DrainingArbiter, DrainingWorker, SharedFlag
from imagequeue.web.gunicornoptions import TOWARDS_CLIENTS
from imagequeue.web.pacedsocket import SEND_SECONDS
from imagequeue.web.probes import Probes
from imagequeue.web.sharedcounts import SharedCounts
from imagequeue.web.sharing import Sharing

REFUSING_THREADS = 32
TRIM_SECONDS = 2.0
# Bytes, of which the kernel makes twice as many: of a connection's answer, and of those that it has not sent yet, which
# is all that it holds for a client that takes nothing.
SEND_BUFFER = 128 * 1024
NOT_SENT = 16 * 1024


class GunicornLogger(Logger):  # type: ignore[misc, unused-ignore]
    """Gunicorn's lines go up to the root logger, and so get the project's one format; a few of each kind a second.

    Clients can cause some of them, with a traceback. Malformed requests have lines of their own, see malformed.
    """

    def setup(self, cfg: Any) -> None:
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self._throttle = Throttle()

    def warning(self, msg: Any, *args: Any, **more: Any) -> None:
        self._some(logging.WARNING, msg, args, more)

    def error(self, msg: Any, *args: Any, **more: Any) -> None:
        self._some(logging.ERROR, msg, args, more)

    def exception(self, msg: Any, *args: Any, **more: Any) -> None:
        self._some(logging.ERROR, msg, args, {"exc_info": True} | more)

    def _some(self, level: int, msg: Any, args: tuple[Any, ...], more: dict[str, Any]) -> None:
        # Some messages come filled in; how they begin is their kind.
        if self._throttle.admits(str(msg)[:24]):
            self.error_log.log(level, msg, *args, **more)


class WebServer(BaseApplication):  # type: ignore[misc, unused-ignore]
    """Gunicorn over the application that `build` makes, in each process anew."""

    def __init__(
        self,
        build: Callable[[], Flask],
        draining: SharedFlag,
        *,
        address: str,
        processes: int,
        threads: int,
        request_timeout: float,
        drain_seconds: float,
    ) -> None:
        """address: host:port. threads: of each process. request_timeout, drain_seconds: seconds.

        draining: set when the end has begun; given to the applications, too, for /readyz.
        """
        self._build = build
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._waiting = SharedCounts()
        # One more than the connections of each process.
        self._connections = SharedCounts()
        self._options: dict[str, Any] = TOWARDS_CLIENTS | {
            "bind": address,
            "workers": processes,
            "worker_class": DrainingWorker,
            # Those on top refuse: a client that is refused in the middle of its upload is listened to for a moment.
            "threads": threads + REFUSING_THREADS,
            # Connections that are kept alive wait in a selector and cost no thread.
            "worker_connections": threads + 4096,
            "graceful_timeout": int(request_timeout) + 5,
            "proc_name": "imagequeue-web",
            "logger_class": GunicornLogger,
            # A socket in the home directory that two servers would fight over.
            "control_socket_disable": True,
            "post_worker_init": self._start_process,
            "child_exit": lambda server, worker: self._forget_process(worker.age),
            "worker_exit": _end_process,
            "when_ready": lambda server: log(
                "listening", address=",".join(map(str, server.LISTENERS)), processes=processes, threads=threads
            ),
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._build()

    def _start_process(self, worker: Any) -> None:
        """After the fork."""

        def publish(count: int) -> int:
            self._waiting.set(worker.age, count)
            return self._waiting.total()

        def least_elsewhere(count: int) -> int | None:
            self._connections.set(worker.age, count + 1)
            least = self._connections.least_elsewhere(worker.age)
            return least - 1 if least else None

        _start_process(worker)
        extensions = worker.wsgi.extensions
        worker.doorman = Doorman(extensions["classifier"], extensions["rebuffs"], publish)
        worker.probes = Probes(extensions["rebuffs"], extensions["metrics"], extensions["classifier"].why_not_ready)
        worker.body_seconds = extensions["classifier"].timeout
        worker.sharing = Sharing(least_elsewhere)
        least_elsewhere(0)

    def _forget_process(self, age: int) -> None:
        # Whoever waited on its doorstep waits no longer, and nobody leaves a connection to it.
        self._waiting.set(age, 0)
        self._connections.set(age, 0)

    def run(self) -> None:
        # Gunicorn would take it for a prefix that every path begins with, and answer 500 where one does not.
        os.environ.pop("SCRIPT_NAME", None)
        arbiter = DrainingArbiter(self)
        arbiter.draining = self._draining
        arbiter.drain_seconds = self._drain_seconds
        arbiter.run()


def _start_process(worker: Any) -> None:
    """After the fork: threads and connections do not survive one."""
    keep_memory_small()
    descriptors.raise_limit()
    worker.worker_connections = worker.max_keepalived = descriptors.most_connections(worker.worker_connections)
    for listener in worker.sockets:
        bound_kernel_buffers(listener)
    worker.wsgi.extensions["metrics"].open()
    worker.wsgi.extensions["classifier"].start()


def _end_process(server: Any, worker: Any) -> None:
    application = getattr(worker, "wsgi", None)
    # A process whose application could not be built has none.
    if application is not None:
        application.extensions["rebuffs"].account()
        application.extensions["classifier"].stop()


def bound_kernel_buffers(listener: Any) -> None:
    """Of each connection that `listener` accepts: what the kernel holds of an answer that its client does not take."""
    # Some of these are of TCP or of Linux alone.
    with suppress(OSError, AttributeError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
        # And for how long, once the process is done with the connection.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_SECONDS * 1000))


def keep_memory_small() -> None:
    """Two heaps for all threads together: glibc gives each its own, that stays as large as its largest image.

    What the heaps hold free goes back to the system every TRIM_SECONDS; giving each buffer back at once would cost
    a fifth of the throughput in page faults.
    """
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(m_arena_max, 2)
        libc.mallopt(m_mmap_threshold, 8 * 2**20)
        # Else every image that is freed at a heap's end goes back at once, and the next one is page faults again.
        libc.mallopt(m_trim_threshold, 256 * 2**20)
        trim = libc.malloc_trim
    except (OSError, AttributeError, TypeError):
        # Not glibc: its allocator has no such habit.
        return

    def trim_for_ever() -> None:
        while True:
            time.sleep(TRIM_SECONDS)
            trim(0)

    threading.Thread(target=trim_for_ever, name="trim", daemon=True).start()
