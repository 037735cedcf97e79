"""Things of the wrong shape in Redis: set aside, given up or passed over, while everything else goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis

from imagequeue import dead, jobstate
from imagequeue.errors import JobFailed, JobLost, NotFound, RedisDown
from imagequeue.job import Job, Prediction, Result, new_id
from imagequeue.jobqueue import JobQueue
from imagequeue.model import null_class
from imagequeue.overview import look
from imagequeue.tracestore import find, key_of
from imagequeue.waiter import Waiter
from tests.support.inprocess import Service
from tests.support.jobs import claim, end_lease, enqueue, ids_in, join, reap
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.runningworker import Running, job, results, send
from tests.support.system import eventually

TYPES: dict[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda client, key: client.set(key, b"\xff no JSON"),
    "list": lambda client, key: client.rpush(key, b"\xff", "{}", "[]"),
    "hash": lambda client, key: client.hset(key, mapping={"\xff": "x", "enqueued": "many"}),
    "zset": lambda client, key: client.zadd(key, {b"\xff\xfe": 1, "nobody": float("inf")}),
    "set": lambda client, key: client.sadd(key, "member"),
    "stream": lambda client, key: client.xadd(key, {"field": "value"}),
}
OWN = {"stats": "hash", "workers": "zset", "gone": "zset", "suspect": "list", "dead": "list"}
PAGES = ("/", "/stats", "/metrics", "/dashboard", "/readyz", "/v2/models/null", "/v1/models/null")


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def is_right(one: Job, result: Result) -> bool:
    return bool(result.predictions) and result.predictions[0].label == f"null_{null_class(one.pixels)}"


def wrong_types(*names: str) -> list[tuple[str, str]]:
    """Two for each name, so that each type meets some."""
    kinds = [[kind for kind in TYPES if kind != OWN.get(name, "string")] for name in names]
    return [
        (name, of[(n + m) % len(of)]) for n, (name, of) in enumerate(zip(names, kinds, strict=True)) for m in (0, 3)
    ]


# Under the queue's own keys.


@pytest.mark.parametrize(("name", "kind"), wrong_types(*OWN, "reaping", "dropping"))
def test_what_is_of_another_type_under_a_key_of_the_queue_stops_nobody(
    name: str, kind: str, queue: JobQueue, start_worker: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = start_worker(lease_seconds=1.0)
    first = job(1)
    send(queue, first)
    results(queue, first)
    key = queue.key(name)
    queue.client.delete(key)
    TYPES[kind](queue.client, key)
    # The heart meets it within a third of its lease, if nobody else does.
    if name in OWN:
        eventually(lambda: queue.client.type(key).decode() in (OWN[name], "none"))
        assert queue.client.type(queue.key(f"wrong:{name}")).decode() == kind
        assert queue.client.ttl(queue.key(f"wrong:{name}")) > 0
        said = [record.fields["key"] for record in caplog.records if record.msg == "wrong_type"]  # type: ignore[attr-defined]
        assert said == [key], "once"
    second = job(2)
    send(queue, second)
    (result,) = results(queue, second)
    assert is_right(second, result)
    assert running.thread.is_alive()


def test_a_foreign_key_in_place_of_the_reapers_clock_ends_within_its_interval(queue: JobQueue) -> None:
    join(queue, "w1")
    jobs = enqueue(queue, 2)
    claim(queue, "w1")
    end_lease(queue, "w1")
    queue.client.rpush(queue.key("reaping"), "somebody's")
    eventually(lambda: queue.reap(interval=0.05, max_crashes=2).suspects == len(jobs))


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "list"])
def test_a_dead_workers_list_of_another_type_keeps_nobody_else_from_being_reaped(kind: str, queue: JobQueue) -> None:
    join(queue, "w1", "w2")
    enqueue(queue, 1)
    claim(queue, "w2")
    TYPES[kind](queue.client, queue.key("processing:w1"))
    for worker in ("w1", "w2"):
        end_lease(queue, worker)

    def is_reaped() -> bool:
        try:
            reap(queue)
        except Exception:
            return False
        return queue.client.llen(queue.key("suspect")) == 1

    eventually(is_reaped)
    assert queue.live_workers() == 0


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "hash"])
def test_a_workers_facts_of_another_type_are_no_facts(
    kind: str, queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    running = start_worker()
    key = queue.key(f"worker:{running.lease.worker_id}")
    queue.client.delete(key)
    TYPES[kind](queue.client, key)
    one = job(1)
    send(queue, one)
    results(queue, one)
    (worker,) = look(queue).workers
    assert worker.facts == {}


def test_counters_that_are_no_numbers_are_passed_over_and_begin_again(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    garbage = {"enqueued": "many", "completed": b"\xff", "drained": "inf", "drained_ms": "nan", "drained_at": "-1e300"}
    garbage |= {"batch:1": "9" * 40, "batch:many": "1", "dead": "0x", b"\xff": "2"}  # type: ignore[dict-item]
    queue.client.hset(queue.key("stats"), mapping=garbage)
    assert look(queue).counters["enqueued"] == 0
    assert set(queue.stats()) <= {"batch:many", "�"}
    start_worker()
    jobs = [job(n) for n in range(3)]
    send(queue, *jobs)
    results(queue, *jobs)
    eventually(lambda: look(queue).counters["completed"] == 3)
    assert look(queue).counters["enqueued"] == 3
    assert look(queue).drained_per_s >= 0


# Jobs and their hashes.

HASHES: dict[str, Callable[[redis.Redis, str], object]] = {
    **{kind: make for kind, make in TYPES.items() if kind != "hash"},
    "attempts": lambda client, key: client.hset(key, "attempts", "many"),
    "crashes": lambda client, key: client.hset(key, "crashes", b"\xff"),
    "no crashes": lambda client, key: client.hdel(key, "crashes"),
    "deadline": lambda client, key: client.hset(key, "deadline", "1e999"),
    "no deadline": lambda client, key: client.hdel(key, "deadline"),
    "enqueued": lambda client, key: client.hset(key, "enqueued", ""),
    "long": lambda client, key: client.hset(key, "attempts", "9" * 30),
}


def break_hash(queue: JobQueue, one: Job, how: str) -> None:
    key = queue.key(f"job:{one.id}")
    if how in TYPES:
        queue.client.delete(key)
    HASHES[how](queue.client, key)


@pytest.mark.parametrize("how", HASHES)
def test_a_job_of_whose_hash_nothing_can_be_made_is_given_up_and_its_neighbours_are_answered(
    how: str, queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    jobs = [job(n) for n in range(3)]
    send(queue, *jobs)
    break_hash(queue, jobs[1], how)
    look(queue)
    start_worker()
    found = results(queue, *jobs)
    assert is_right(jobs[0], found[0])
    assert is_right(jobs[2], found[2])
    assert isinstance(found[1].error, JobFailed)
    (entry,) = map(dead.Dead.decode, queue.dead())
    assert entry.document == jobs[1].encode()
    assert "What Redis holds of this job" in entry.reason


@pytest.mark.parametrize("how", HASHES)
@pytest.mark.parametrize("end", ["complete", "release", "reap"])
def test_a_hash_that_breaks_while_its_job_is_held_harms_no_other(how: str, end: str, queue: JobQueue) -> None:
    join(queue, "w1", "w2")
    jobs = enqueue(queue, 3)
    claim(queue, "w1", limit=3)
    break_hash(queue, jobs[1], how)
    if end == "complete":
        answers = [(one, Result(one.id, (Prediction("castle", 0.5, 1),))) for one in jobs]
        assert queue.complete("w1", "t1", answers).stored >= 2
        assert queue.client.llen(queue.key("processing:w1")) == 0
        return
    if end == "release":
        assert queue.release("w1") == 3
    else:
        end_lease(queue, "w1")
        reap(queue)
    claimed: list[str] = []
    for number in range(4):
        claimed += claim(queue, "w2", token=f"t{number}", held=len(claimed), limit=8)
    for number in range(4, 8):
        # Suspects are claimed with empty hands.
        held = claim(queue, "w2", token=f"t{number}", limit=8)
        claimed += held
        queue.client.delete(queue.key("processing:w2"))
    assert {jobs[0].id, jobs[2].id} <= set(claimed)
    assert jobs[1].id not in claimed
    assert [dead.Dead.decode(entry).id for entry in queue.dead()] == [jobs[1].id]


@pytest.mark.parametrize("how", HASHES)
def test_a_full_queue_whose_oldest_hash_is_broken_still_says_that_it_is_full(how: str, queue: JobQueue) -> None:
    oldest, *_ = enqueue(queue, 2)
    break_hash(queue, oldest, how)
    with pytest.raises(Exception, match="The queue is full"):
        queue.enqueue(job(1), timeout=5, max_length=2, needs_worker=False)


@pytest.mark.parametrize("how", HASHES)
def test_whoever_asks_for_a_job_with_a_broken_hash_gets_an_answer(how: str, queue: JobQueue) -> None:
    (one,) = enqueue(queue, 1)
    break_hash(queue, one, how)
    try:
        assert jobstate.look_at(queue, one.id).state == "waiting"
    except NotFound:
        assert how in TYPES
    queue.cancel_all([one.id])
    assert jobstate.look_at(queue, one.id).state == "failed"


HEADS = [
    '"reply_to":"","top":"many"',
    '"reply_to":"","top":"5"',
    '"reply_to":"","top":1e999',
    '"reply_to":"","top":-3',
    '"reply_to":"","top":0',
    '"reply_to":"","top":true',
    '"reply_to":"\\ud800","top":5',
    '"reply_to":"\\u0000","top":5',
    '"reply_to":"é","top":5',
    '"reply_to":"","top":5,"id":"' + "f" * 32 + '"',
    '"reply_to":"","top":' + "[" * 100_000,
    '"reply_to":"","reply_to":7,"top":5',
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head[:40])
def test_a_document_with_such_a_head_is_given_up_and_ends_no_worker(
    head: str, queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    one, innocent = job(7), job(8)
    before, image = one.encode().split(b',"image"')
    bad = before[: before.index(b',"reply_to"')] + b"," + head.encode() + b',"image"' + image
    send(queue, one, innocent)
    queue.client.lset(queue.name, 0, bad)
    running = start_worker()
    found = results(queue, one, innocent)
    assert isinstance(found[0].error, JobFailed)
    assert is_right(innocent, found[1])
    assert [dead.Dead.decode(entry).document for entry in queue.dead()] == [bad]
    assert running.thread.is_alive()


def test_documents_of_any_bytes_are_buried_and_can_be_listed(
    queue: JobQueue, each_redis: RedisServer, start_worker: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    junk = [b"\xff\xfe\x00", b"", b'{"id":"\x1b[31m', b"[" * 1000, b'{"id":"' + b"z" * 32 + b'","reply_to":"","top":5}']
    queue.client.rpush(queue.name, *junk)
    start_worker()
    eventually(lambda: queue.client.llen(queue.key("dead")) == len(junk))
    assert {dead.Dead.decode(entry).document for entry in queue.dead()} == set(junk)
    assert dead.main(["--redis-url", each_redis.url, "--queue", queue.name, "list"]) == 0
    assert "\x1b" not in capsys.readouterr().out


# What was given up.

ENTRIES = [
    b"",
    b"\xff",
    b"[]",
    b"null",
    b"{}",
    b'{"at":"x","reason":"r","document":"d"}',
    b'{"at":1e999,"reason":"r","document":"d"}',
    b'{"at":-1e18,"reason":"r","document":"d"}',
    b'{"at":1,"reason":"\\u001b[2J\\n\\u009b31m","document":"\\ud800"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("verb", ["list", "export", "requeue"])
def test_entries_of_any_shape_are_listed_exported_and_passed_over(
    verb: str, queue: JobQueue, each_redis: RedisServer, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    queue.client.rpush(queue.key("dead"), *ENTRIES)
    more = {"list": [], "export": [str(tmp_path / "out")], "requeue": ["--all"]}[verb]
    code = dead.main(["--redis-url", each_redis.url, "--queue", queue.name, verb, *more])
    assert code == (1 if verb == "requeue" else 0)
    printed = "".join(capsys.readouterr())
    assert all(c.isprintable() or c == "\n" for c in printed)
    if verb == "list":
        assert f"{len(ENTRIES)} images were given up." in printed


# Results, traces and pages. The tests share one service: what one of them leaves, the next has to bear.

ENVELOPES = [
    b"",
    b"\xff",
    b"no JSON",
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"id":"a","predictions":[["castle","much",1]]}',
    b'{"id":"a","predictions":[["castle",NaN,1]]}',
    b'{"id":"a","predictions":[[{},0.5,1]]}',
    b'{"id":"a","predictions":[["castle",0.5,"1"]]}',
    b'{"id":"a","predictions":[["castle",0.5,1,2]]}',
    b'{"id":"a","predictions":"castle"}',
    b'{"id":"a","predictions":[],"queued_ms":"long"}',
    b'{"id":"a","predictions":[],"inference_ms":Infinity}',
    b'{"id":"a","predictions":[],"model":{}}',
    b'{"id":"a","error":"text"}',
]


def test_an_envelope_that_cannot_be_read_is_a_lost_job_to_whoever_asks(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    waiter = Waiter(service.queue, service.queue.client, "nobody")
    for envelope in ENVELOPES:
        job_id = new_id()
        service.queue.client.set(service.queue.key(f"result:{job_id}"), envelope, px=60_000)
        caplog.clear()
        response = service.client.get(f"/jobs/{job_id}")
        assert response.status_code == 200, envelope[:80]
        assert response.json["error"]["code"] == JobLost.code  # type: ignore[index]
        assert [record.msg for record in caplog.records] == ["result_unreadable"]
        assert service.client.get(f"/jobs/{job_id}/trace").status_code == 404
        with waiter.expecting(job_id) as ticket:
            ticket.resolve(envelope, "message")
            assert isinstance(waiter.wait(ticket, 0).error, JobLost)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "string"])
def test_a_result_of_another_type_is_none(kind: str, service: Service) -> None:
    job_id = new_id()
    TYPES[kind](service.queue.client, service.queue.key(f"result:{job_id}"))
    TYPES[kind](service.queue.client, service.queue.key(f"trace:{job_id}"))
    assert service.client.get(f"/jobs/{job_id}").status_code == 404
    assert service.client.delete(f"/jobs/{job_id}").status_code == 404
    assert service.client.get(f"/jobs/{job_id}/trace").status_code == 404


FIELDS = {
    "id": "a",
    "web": "w",
    "at": 1.0,
    "received_ms": -1.0,
    "decode_ms": 1.0,
    "enqueue_ms": 1.0,
    "answered_ms": 2.0,
    "woken_ms": 1.0,
    "by": "message",
    "status": 200,
    "error": "",
    "facts": {"claimed_at": 1, "queued_ms": 1, "inference_ms": 1},
}
TRACES = [
    b"[]",
    b"\xff",
    b"{}",
    b"[" * 100_000,
    *(json.dumps({**FIELDS, **wrong}).encode() for wrong in [
        {"at": "now", "facts": {}},
        {"received_ms": None},
        {"received_ms": "x"},
        {"at": 1e300, "facts": {}},
        {"facts": []},
        {"facts": {"claimed_at": "x", "queued_ms": 1}},
        {"facts": {"claimed_at": 1}},
        {"facts": {"claimed_at": 1e300, "queued_ms": 1, "inference_ms": 1}},
        {"another": 1},
    ]),
]  # fmt: skip


@pytest.mark.parametrize("document", TRACES, ids=lambda document: str(document[-60:]))
def test_a_trace_that_cannot_be_read_is_none(
    document: bytes, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = new_id()
    queue.client.set(key_of(queue, job_id), document)
    with caplog.at_level(logging.WARNING, logger="imagequeue"):
        assert find(queue, job_id) is None
    assert "trace_unreadable" in [record.msg for record in caplog.records]


@pytest.mark.parametrize(
    ("name", "kind"),
    [*wrong_types(*OWN)[::2], ("job", "list"), ("worker", "list"), ("processing", "zset"), ("log", "set")],
)
def test_every_page_answers_whatever_lies_under_the_queues_keys(name: str, kind: str, service: Service) -> None:
    eventually(lambda: service.queue.live_workers() == 1)
    (worker,) = service.queue.client.zrange(service.queue.key("workers"), 0, -1)
    key = service.queue.key({"worker": f"worker:{worker.decode()}", "job": "job:" + "a" * 32}.get(name, name))
    if name == "processing":
        key = service.queue.key(f"processing:{worker.decode()}")
    service.queue.client.delete(key)
    TYPES[kind](service.queue.client, key)
    for page in PAGES:
        status = service.client.get(page).status_code
        assert status in (200, 404, 503), page
    assert service.client.get("/").status_code == 200
    assert service.client.get("/stats").status_code == 200

    def is_served() -> bool:
        response = service.client.post("/predict", data=picture(1), content_type="image/png")
        assert response.status_code in (200, 503, 504)
        return response.status_code == 200

    eventually(is_served)


def test_workers_with_ids_and_facts_of_any_bytes_are_shown(service: Service) -> None:
    client, queue = service.queue.client, service.queue
    client.zadd(queue.key("workers"), {b"\xff\xfe<b>": 9e14, b"nobody": float("inf"), b"": -5})
    client.hset(queue.key("worker:nobody"), mapping={b"\xff": b"\xfe", "image_size": "axb", "classes": "-1", "id": "x"})
    for page in PAGES:
        assert service.client.get(page).status_code in (200, 404, 503)
    assert service.client.get("/stats").status_code == 200
    assert len(look(queue).workers) == 4


def test_where_the_waiting_list_is_none_it_is_left_alone_and_everybody_is_told(service: Service) -> None:
    client, queue = service.queue.client, service.queue
    client.set(queue.name, "somebody's")
    response = service.client.post("/predict", data=picture(1), content_type="image/png")
    assert (response.status_code, response.json["error"]["code"]) == (503, "redis_down")  # type: ignore[index]
    assert client.get(queue.name) == b"somebody's"
    for page in ("/", "/stats"):
        assert service.client.get(page).status_code == 200
    client.delete(queue.name)
    eventually(lambda: service.client.post("/predict", data=picture(1), content_type="image/png").status_code == 200)


def test_no_job_is_lost_where_the_waiting_list_itself_is_something_else(client: redis.Redis) -> None:
    queue = JobQueue(client)
    join(queue, "w1")
    (waiting,) = enqueue(queue)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    client.set(queue.name, "somebody's")
    with pytest.raises(RedisDown):
        reap(queue, victim="w1")
    client.delete(queue.name)
    reap(queue, victim="w1")
    assert ids_in(queue) == [waiting.id]
