"""The whole straight line, as a user runs it: real Redis, real workers, real Gunicorn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from imagequeue.client import Answer, Client
from imagequeue.connections import POOL_SIZE
from tests.support.load import null_label, send_all
from tests.support.monitor import Monitor
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import WEIGHTS, System, eventually

MakeSystem = Callable[..., System]


@pytest.mark.slow
def test_the_ten_photographs_match_their_expected_probabilities_through_the_whole_system(
    photographs: Path, redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, MODEL="resnet50", MODEL_WEIGHTS=WEIGHTS, MAX_BATCH_SIZE=4).start()
    expected = json.loads((photographs / "expected.json").read_text())
    assert len(expected) == 10
    with Client(system.url) as client:
        for name, wanted in expected.items():
            answer = client.predict(photographs / name)
            assert answer.predictions[0].label == wanted["predictions"][0]["label"], name
            found = {p.label: p.probability for p in answer.predictions}
            for prediction in wanted["predictions"]:
                assert abs(found[prediction["label"]] - prediction["probability"]) < 1e-3, (name, prediction)


@pytest.mark.slow
def test_a_thousand_images_over_two_webs_and_three_workers_are_each_answered_right_and_computed_once(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server).start(webs=2, workers=3)
    images = [picture(number) for number in range(1000)]
    answers = send_all(system.urls, images, connections=64)
    labels = [answer.predictions[0].label for answer in answers if isinstance(answer, Answer)]
    assert labels == [null_label(image) for image in images]
    ids = Counter(answer.id for answer in answers if isinstance(answer, Answer))
    computed = [Counter(line["job"] for line in worker.lines("claimed")) for worker in system.workers]
    assert sum(computed, Counter()) == ids, "each job is claimed exactly once"
    assert all(computed), "each of the workers had a share"


@pytest.mark.slow
def test_in_the_healthy_state_a_request_costs_one_round_trip_and_nothing_is_polled(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    # All of them take longer than two poll intervals: some would be polled for if waiting meant polling.
    system = make_system(redis_server, POLL_INTERVAL=3, TEST_FAULTS="slow=0.12").start()
    client = redis_server.client()
    send_all(system.urls, [picture(number) for number in range(20)], 16)
    images = [picture(number) for number in range(60)]
    with Monitor(client) as monitor:
        answers = send_all(system.urls, images, connections=len(images))
    assert all(isinstance(answer, Answer) for answer in answers)
    web, worker = monitor.commands("web"), monitor.commands("worker")
    # In one transaction.
    assert {web[word] for word in ("MULTI", "RPUSH", "EVAL", "EXEC")} == {60}, web
    # A connection of the pool that is made only now tells Redis its name.
    assert not set(web) - {"MULTI", "RPUSH", "EVAL", "EXEC", "PING", "UNLINK", "CLIENT"}, web
    assert web["CLIENT"] < POOL_SIZE
    assert set(worker) <= {"EVALSHA", "BLMOVE"}, worker


def test_the_number_of_redis_connections_is_the_same_for_8_and_for_512_clients(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, TEST_FAULTS="slow=0.001").start()
    client = redis_server.client()
    most = {}
    for clients, images in ((8, 200), (512, 600)):
        seen: list[int] = []

        def count(done: int, seen: list[int] = seen) -> None:
            if done % 50 == 0:
                seen.append(sum(c["name"] != "" for c in client.client_list()))

        answers = send_all(system.urls, [picture(number) for number in range(images)], clients, on_answer=count)
        assert [answer for answer in answers if not isinstance(answer, Answer)] == []
        most[clients] = max(seen)
    assert most[512] == most[8]


def test_killing_the_subscription_under_load_fails_no_request(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, TEST_FAULTS="slow=0.002").start()
    client = redis_server.client()
    killed: list[int] = []

    def kill(done: int) -> None:
        if done % 60 == 0:
            killed.append(int(client.client_kill_filter(_type="pubsub")))

    images = [picture(number) for number in range(400)]
    answers = send_all(system.urls, images, connections=32, on_answer=kill)
    assert sum(killed) >= 3, "the subscription was there to be killed"
    labels = [answer.predictions[0].label if isinstance(answer, Answer) else answer for answer in answers]
    assert labels == [null_label(image) for image in images]


@pytest.mark.slow
def test_a_web_process_stays_small_and_never_loads_tensorflow(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server).start()
    send_all(system.urls, [picture(number, (600, 400)) for number in range(200)], connections=64)
    master = system.webs[0].pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    assert children

    def resident_kb(pid: str) -> int:
        return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])

    for pid in children:
        # What the burst needed goes back to the system within seconds.
        eventually(lambda pid=pid: resident_kb(pid) < 100_000, what=f"{resident_kb(pid)} kB resident")
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "tensorflow" not in maps
        assert "numpy" not in maps


def test_a_job_can_be_followed_by_its_id_through_the_logs_of_all_processes(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, LOG_DIR="").start()
    (answer,) = send_all(system.urls, [picture(1)], 1)
    assert isinstance(answer, Answer)
    web, worker = system.webs[0], system.workers[0]
    eventually(lambda: [line for line in worker.lines("completed") if line["job"] == answer.id])
    for script, actions in ((web, ("enqueued", "answered")), (worker, ("claimed", "completed"))):
        for action in actions:
            assert answer.id in [line["job"] for line in script.lines(action)], action
