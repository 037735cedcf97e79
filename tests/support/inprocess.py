"""The whole service in this process: a Flask application, and a worker with the null model in a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from imagequeue.batchlatency import BatchLatency
from imagequeue.connections import connect
from imagequeue.doorbell import Doorbell
from imagequeue.jobqueue import JobQueue
from imagequeue.lease import Lease
from imagequeue.model import load
from imagequeue.web.access import Access
from imagequeue.web.app import create_app
from imagequeue.web.classifier import Classifier
from imagequeue.web.decoding.pool import DecoderPool
from imagequeue.web.hosts import Hosts
from imagequeue.worker import Worker
from tests.support.system import eventually

SIZE = (8, 8)


class Service:
    """`client` talks to the application; `stop` ends all threads."""

    def __init__(
        self,
        redis_url: str,
        *,
        with_worker: bool = True,
        access: Access | None = None,
        cors_origins: Sequence[str] = (),
        is_tracing: bool = True,
        hosts: Hosts | None = None,
        root_path: str = "",
        **limits: Any,
    ) -> None:
        self.redis_url = redis_url
        options: dict[str, Any] = {
            "redis_url": redis_url,
            "queue_name": "image_queue",
            "result_ttl": 30.0,
            "max_queue_length": 100,
            "max_queue_bytes": 0,
            "timeout": 10.0,
            "job_timeout": 20.0,
            "poll_interval": 0.2,
            "threads": 40,
        }
        decoding: dict[str, Any] = {
            "decoders": 2,
            "image_size": SIZE,
            "max_upload_bytes": 2**20,
            "max_image_pixels": 10**6,
        }
        decoding |= {name: limits.pop(name) for name in list(limits) if name in decoding or name == "is_fast"}
        self.classifier = Classifier(decoders=DecoderPool(**decoding), **(options | limits))
        self.app: Flask = create_app(
            self.classifier,
            access,
            cors_origins=cors_origins,
            is_tracing=is_tracing,
            hosts=hosts,
            root_path=root_path,
        )
        self.client: FlaskClient = self.app.test_client()
        self.queue = JobQueue(connect(redis_url, name="test"))
        self._workers: list[tuple[Worker, threading.Thread]] = []
        self.classifier.start()
        if with_worker:
            self.start_worker()
        eventually(lambda: self.classifier.why_not_ready() in ("", "no worker"))

    def start_worker(self) -> None:
        commands = JobQueue(connect(self.redis_url, name="worker:commands"))
        bell = Doorbell(connect(self.redis_url, name="worker:bell", answer_seconds=5, repeats=0), commands, seconds=0.1)
        heart = JobQueue(connect(self.redis_url, name="worker:heartbeat"))
        model = load("null", weights="random", labels="imagenet", size=SIZE, preprocessing="auto", threads=1)
        facts: dict[str, str | int | float] = {
            "host": "test",
            "model": model.name,
            "weights": model.weights,
            "classes": len(model.labels),
            "image_size": f"{SIZE[0]}x{SIZE[1]}",
            "runtime": model.runtime,
            "max_batch": 8,
        }
        lease = Lease(heart, seconds=5.0, facts=facts)
        worker = Worker(
            commands, bell, lease, model, BatchLatency(model, max_batch=8), max_crashes=2, reap_interval=0.2
        )
        thread = threading.Thread(target=worker.run)
        thread.start()
        self._workers.append((worker, thread))
        eventually(lambda: not lease.is_fenced)

    def stop(self) -> None:
        for worker, _ in self._workers:
            worker.drain()
        for _, thread in self._workers:
            thread.join(timeout=20)
            assert not thread.is_alive()
        self.classifier.stop()
