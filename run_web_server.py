"""The web server: `python run_web_server.py`, or `gunicorn run_web_server:app`.

settings → logging → Gunicorn, whose processes each hold one Classifier. No TensorFlow in here.
"""

from __future__ import annotations

import argparse
import ctypes
import signal
import sys
import threading
import time
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

import logutil
from imagequeue import cpus
from imagequeue.connections import without_secrets
from imagequeue.web import Classifier, create_app
from settings import Settings, help_text, load_or_exit

TRIM_SECONDS = 2.0


def build_app(settings: Settings) -> Flask:
    return create_app(
        Classifier(
            redis_url=settings.redis_url,
            queue_name=settings.image_queue,
            result_ttl=settings.result_ttl,
            image_size=settings.image_size,
            max_upload_bytes=settings.max_upload_bytes,
            max_image_pixels=settings.max_image_pixels,
            max_queue_length=settings.max_queue_length,
            max_queue_bytes=settings.max_queue_bytes,
            timeout=settings.request_timeout,
            poll_interval=settings.poll_interval,
            threads=settings.web_threads,
            decoders=cpus.available(),
        )
    )


def configure_logging(settings: Settings) -> None:
    logutil.configure(
        server=settings.server_name,
        level=settings.log_level,
        format=settings.log_format,
        directory=settings.log_dir,
        script="run_web_server.py",
    )


def keep_memory_small() -> None:
    """Two heaps for all threads together: glibc gives each its own, that stays as large as its largest image.

    What the heaps hold free goes back to the system every TRIM_SECONDS; giving each buffer back at once would cost
    a fifth of the throughput in page faults.
    """
    m_mmap_threshold, m_arena_max = -3, -8
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(m_arena_max, 2)
        libc.mallopt(m_mmap_threshold, 8 * 2**20)
        trim = libc.malloc_trim
    except (OSError, AttributeError, TypeError):
        # Not glibc: its allocator has no such habit.
        return

    def trim_for_ever() -> None:
        while True:
            time.sleep(TRIM_SECONDS)
            trim(0)

    threading.Thread(target=trim_for_ever, name="trim", daemon=True).start()


def start_process(worker: Any) -> None:
    """After the fork: threads and connections do not survive one."""
    keep_memory_small()
    worker.wsgi.extensions["classifier"].start()


class GunicornLogger(Logger):  # type: ignore[misc, unused-ignore]
    """Gunicorn's lines, in the project's one format."""

    def setup(self, cfg: Any) -> None:
        self.error_log.propagate = True
        self.error_log.handlers.clear()


class WebServer(BaseApplication):  # type: ignore[misc, unused-ignore]
    """Gunicorn, configured from the settings instead of its command line."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self.settings
        for name, value in {
            "bind": f"{settings.web_host}:{settings.web_port}",
            "workers": settings.web_processes,
            "worker_class": "gthread",
            "threads": settings.web_threads,
            # Connections that are kept alive wait in a selector and cost no thread.
            "worker_connections": settings.web_threads + 4096,
            "keepalive": 65,
            "graceful_timeout": int(settings.request_timeout) + 5,
            "proc_name": "imagequeue-web",
            "logger_class": GunicornLogger,
            # A socket in the home directory that two servers would fight over.
            "control_socket_disable": True,
            "post_worker_init": start_process,
            "worker_exit": lambda server, worker: worker.wsgi.extensions["classifier"].stop(),
            "when_ready": self._announce,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return build_app(self.settings)

    def _announce(self, server: Any) -> None:
        logutil.log(
            "listening",
            address=",".join(str(sock) for sock in server.LISTENERS),
            processes=self.settings.web_processes,
            threads=self.settings.web_threads,
            redis=without_secrets(self.settings.redis_url),
        )


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, epilog=help_text(), formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    settings = load_or_exit()
    configure_logging(settings)
    # Gunicorn reads sys.argv for itself otherwise.
    sys.argv[1:] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)
    WebServer(settings).run()


def __getattr__(name: str) -> Flask:
    """`app`, made when `gunicorn run_web_server:app` asks for it and not on import."""
    if name != "app":
        raise AttributeError(name)
    settings = load_or_exit()
    configure_logging(settings)
    return build_app(settings)


if __name__ == "__main__":
    main()
