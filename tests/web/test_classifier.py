"""Decode, enqueue, wait: what the endpoints share, where it is not any endpoint's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from imagequeue.backlog import Backlog
from imagequeue.connections import POOL_SIZE
from imagequeue.errors import RedisDown
from imagequeue.job import Job, Prediction, Result
from imagequeue.replies import Claimed
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.system import eventually


def ask(service: Service) -> TestResponse:
    return service.app.test_client().post("/predict", data=picture(1), content_type="image/png")


def test_a_request_that_finds_every_connection_in_use_waits_for_its_turn(make_service: Callable[..., Service]) -> None:
    service = make_service()
    pool = service.classifier.queue.client.connection_pool
    # A fraction of the seconds that a thread waits at a time.
    pool.timeout = 0.05
    in_use = [pool.get_connection() for _ in range(POOL_SIZE)]
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(ask(service).status_code))
    asking.start()
    asking.join(20 * pool.timeout)
    assert asking.is_alive(), "it has no answer yet, and was not refused either"
    for connection in in_use:
        pool.release(connection)
    eventually(lambda: answers == [200])
    asking.join()


def test_a_request_that_gets_no_connection_in_its_time_is_told_so(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(timeout=1.0)
    pool = service.classifier.queue.client.connection_pool
    pool.timeout = 0.05
    in_use = [pool.get_connection() for _ in range(POOL_SIZE)]
    answer = ask(service)
    for connection in in_use:
        pool.release(connection)
    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "redis_busy"
    assert "connections" in answer.json["error"]["message"]
    assert answer.headers["Retry-After"] == "1"


def test_an_image_whose_deadline_passed_while_its_request_came_is_not_enqueued(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(timeout=5.0)
    visit = service.classifier.admit(None)
    visit.came -= 6
    (answer,) = service.classifier.classify(visit, [picture(1)], top=5, log_fields={})
    assert answer.error.code == "deadline_exceeded"
    assert service.queue.stats() == {}
    (later,) = service.classifier.submit(visit, [picture(1)], top=5, log_fields={})
    assert later.error.code == "deadline_exceeded", "JOB_TIMEOUT is for the queue, not for its request"


def test_a_job_that_was_accepted_unheard_and_refused_when_it_was_sent_again_is_given_up(
    make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(with_worker=False)
    service.queue.join("w1", 60.0, {"host": "test"})
    enqueue = service.classifier.queue.enqueue

    def obeyed_unheard(job: Job, **limits: Any) -> Backlog:
        enqueue(job, **limits)
        raise RedisDown("Redis is loading its data.")

    monkeypatch.setattr(service.classifier.queue, "enqueue", obeyed_unheard)
    answer = ask(service)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "redis_down")
    assert service.queue.depth() == 1

    def claimed() -> list[Claimed]:
        return service.queue.claim("w1", lease_seconds=60.0, token="t", limit=10)

    eventually(lambda: service.queue.client.keys("*:result:*"))
    assert claimed() == []


def test_who_waits_for_what_another_computes_keeps_nobody_from_coming_in(make_service: Callable[..., Service]) -> None:
    classifier, upload = make_service(cache_seconds=60.0).classifier, picture(1)
    cache = classifier._cache
    assert cache is not None
    _, lead = cache.enter(upload, 5)
    assert lead is not None
    visit, only_waits, answers = classifier.admit(None), threading.Event(), []
    visit.on_decoded = only_waits.set
    asking = threading.Thread(target=lambda: answers.extend(classifier.classify(visit, [upload], top=5, log_fields={})))
    asking.start()
    assert only_waits.wait(20)
    assert not answers
    lead.settle(Result("0" * 32, (Prediction("castle", 1.0, 483),)), None)
    asking.join()
    assert answers[0].result.predictions[0].label == "castle"
