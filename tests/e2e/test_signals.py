"""How servers end: what was accepted is answered first, and whoever asks twice is obeyed at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from imagequeue.connections import connect
from imagequeue.job import Job, Result
from imagequeue.jobqueue import JobQueue
from run_model_server import STOP_SIGNALS, on_stop_signals
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import Script, System, eventually, is_alive
from tests.support.terminal import TerminalScript

pytestmark = pytest.mark.slow

MakeSystem = Callable[..., System]
SIGNALS = [signal.SIGTERM, signal.SIGINT]
SMALL = {"IMAGE_SIZE": 8}


@pytest.fixture
def queue(redis_server: RedisServer) -> JobQueue:
    return JobQueue(connect(redis_server.url, name="test"))


def enqueue(queue: JobQueue, count: int = 1) -> list[Job]:
    jobs = [Job(pixels=bytes([number]) * 192) for number in range(count)]
    for job in jobs:
        queue.enqueue(job, timeout=60, max_length=100, needs_worker=False)
    return jobs


def results(queue: JobQueue, jobs: list[Job]) -> list[Result]:
    return [Result.decode(envelope) for envelope, _ in queue.look_up([job.id for job in jobs]) if envelope]


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_worker_finishes_the_batch_in_hand_and_hands_back_the_rest(
    redis_server: RedisServer, make_system: MakeSystem, queue: JobQueue, number: signal.Signals
) -> None:
    worker = make_system(redis_server, **SMALL).worker(MAX_BATCH_SIZE=1, TEST_FAULTS="slow=0.7")
    jobs = enqueue(queue, 6)
    worker.wait_for("claimed")
    worker.signal(number)
    assert worker.wait() == 0
    assert worker.lines("draining") == [{"signal": number.name}]
    done = results(queue, jobs)
    assert 1 <= len(done) < 6
    assert [result.id for result in done] == [job.id for job in jobs[: len(done)]]
    assert queue.depth() == 6 - len(done)
    assert queue.live_workers() == 0
    assert not queue.client.keys("*:processing:*")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_a_worker_at_once_and_loses_nothing(
    redis_server: RedisServer, make_system: MakeSystem, queue: JobQueue, number: signal.Signals, code: int
) -> None:
    system = make_system(redis_server, LEASE_SECONDS=1, **SMALL)
    worker = system.worker(TEST_FAULTS="slow=600")
    jobs = enqueue(queue)
    worker.wait_for("claimed")
    worker.signal(number)
    worker.wait_for("draining")
    worker.signal(number)
    assert worker.wait() == code
    assert results(queue, jobs) == []
    system.worker(wait=False)
    eventually(lambda: results(queue, jobs))
    assert results(queue, jobs)[0].error is None


def test_an_idle_worker_ends_with_0(redis_server: RedisServer, make_system: MakeSystem) -> None:
    worker = make_system(redis_server, **SMALL).worker()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_worker_that_still_loads_its_model_ends_with_0_and_without_a_traceback(
    redis_server: RedisServer, make_system: MakeSystem, number: signal.Signals
) -> None:
    worker = make_system(redis_server, MODEL="resnet50", MODEL_WEIGHTS="random").worker(wait=False)
    worker.wait_for("loading")
    worker.signal(number)
    assert worker.wait() == 0
    assert "Traceback" not in worker.output


def test_workers_n_starts_n_and_one_signal_drains_all(
    redis_server: RedisServer, make_system: MakeSystem, queue: JobQueue
) -> None:
    fleet = make_system(redis_server, **SMALL).worker("--workers", "3", TEST_FAULTS="slow=0.2")
    eventually(lambda: queue.live_workers() == 3)
    processes = children(fleet.pid)
    assert len(processes) == 3
    jobs = enqueue(queue, 3)
    fleet.wait_for("claimed")
    fleet.signal(signal.SIGTERM)
    assert fleet.wait() == 0
    assert not [pid for pid in processes if is_alive(pid)]
    assert len(results(queue, jobs)) + queue.depth() == 3
    assert len(fleet.lines("left")) == 3


def test_a_fleet_whose_setting_is_wrong_ends_with_2_instead_of_trying_for_ever(tmp_path: Path) -> None:
    fleet = Script("run_model_server.py", "--workers", "2", log=tmp_path / "log", MODEL="null", TEST_FAULTS="nonsense")
    assert fleet.wait() == 2
    assert "TEST_FAULTS: 'nonsense' is not understood" in fleet.output


def test_workers_takes_a_number_of_at_least_one(tmp_path: Path) -> None:
    for words in (("--workers", "0"), ("--workers", "many"), ("--workers",)):
        assert Script("run_model_server.py", *words, log=tmp_path / "log", MODEL="null").wait() == 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_web_server_answers_what_it_has_accepted_then_ends_with_0(
    redis_server: RedisServer, make_system: MakeSystem, number: signal.Signals
) -> None:
    system = make_system(redis_server, TEST_FAULTS="slow=0.8", DRAIN_SECONDS=0.1).start()
    (web,), (worker,) = system.webs, system.workers
    processes = children(web.pid)
    answers: list[requests.Response] = []
    client = threading.Thread(target=lambda: answers.append(system.predict(picture(1))))
    client.start()
    worker.wait_for("claimed")
    web.signal(number)
    assert web.wait() == 0
    client.join(timeout=20)
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].json()["predictions"][0]["label"] == null_label(picture(1))
    assert not [pid for pid in processes if is_alive(pid)]
    assert "Traceback" not in web.output
    assert worker.is_running


def test_readiness_fails_before_the_web_server_stops_listening(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, DRAIN_SECONDS=600).start()
    system.webs[0].signal(signal.SIGTERM)
    eventually(lambda: not system.is_ready())
    assert requests.get(f"{system.url}/readyz", timeout=5).json() == {"status": "not ready", "reason": "draining"}
    assert system.is_live(system.url)
    assert system.predict(picture(2)).status_code == 200, "what still comes is still served"
    system.webs[0].signal(signal.SIGTERM)
    assert system.webs[0].wait() == 0


@pytest.fixture
def signals_restored() -> Iterator[None]:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    yield
    for number, callback in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, callback)


@pytest.mark.usefixtures("signals_restored")
def test_a_drain_may_take_a_lock_that_the_interrupted_line_holds() -> None:
    lock, drained = threading.Lock(), threading.Event()

    def drain() -> None:
        with lock:
            drained.set()

    on_stop_signals(drain)
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
    assert drained.wait(20)


def send(system: System, count: int) -> Callable[[], list[int]]:
    """So many requests at once, each on a connection of its own; a call that waits for the answers' statuses."""
    statuses: list[int] = []
    clients = [
        threading.Thread(target=lambda number=number: statuses.append(system.predict(picture(number)).status_code))
        for number in range(count)
    ]
    for client in clients:
        client.start()

    def join() -> list[int]:
        for client in clients:
            client.join(timeout=30)
        return statuses

    return join


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_every_process_of_a_web_server_costs_no_answer_and_starts_nothing(
    redis_server: RedisServer, make_system: MakeSystem, number: signal.Signals
) -> None:
    system = make_system(redis_server, TEST_FAULTS="slow=0.3", MAX_BATCH_SIZE=1, WEB_PROCESSES=2, DRAIN_SECONDS=0.5)
    system.worker()
    web = system.web(has_own_group=True)
    eventually(system.is_ready)
    answered = send(system, 4)
    eventually(lambda: len(web.lines("enqueued")) == 4)
    web.signal_all(number)
    eventually(lambda: not system.is_ready())
    assert system.predict(picture(9)).status_code == 200, "what comes before a balancer has looked is served"
    assert web.wait() == 0
    assert answered() == [200] * 4
    assert web.output.count("Booting worker") == 2, web.output
    assert "Traceback" not in web.output


def test_a_child_that_dies_in_a_drain_is_not_replaced(redis_server: RedisServer, make_system: MakeSystem) -> None:
    web = make_system(redis_server, WEB_PROCESSES=2, DRAIN_SECONDS=2).web(has_own_group=True)
    web.signal(signal.SIGTERM)
    web.wait_for("draining")
    os.kill(web.children()[0], signal.SIGKILL)
    assert web.wait() == 0
    assert web.output.count("Booting worker") == 2, web.output


def test_a_web_server_whose_terminal_is_closed_drains(
    redis_server: RedisServer, make_system: MakeSystem, tmp_path: Path
) -> None:
    system = make_system(redis_server, TEST_FAULTS="slow=0.5", MAX_BATCH_SIZE=1)
    system.worker()
    port = free_port()
    settings = system.settings | {"WEB_PORT": port, "WEB_PROCESSES": 2, "DRAIN_SECONDS": 0.5, "LOG_DIR": tmp_path}
    terminal = TerminalScript("run_web_server.py", **settings)
    try:
        system.urls.append(f"http://127.0.0.1:{port}")
        eventually(system.is_ready, what=terminal.output)
        answered = send(system, 3)
        eventually(lambda: terminal.output.count("enqueued") == 3)
        terminal.close()
        assert terminal.process.wait(timeout=30) == 0
        assert answered() == [200] * 3
    finally:
        terminal.end()
    (log,) = tmp_path.glob("*web*.log")
    assert log.read_text().count("Booting worker") == 2
    assert "Traceback" not in log.read_text()


def test_a_worker_whose_terminal_is_closed_hands_back_what_it_has_not_begun(
    redis_server: RedisServer, make_system: MakeSystem, queue: JobQueue
) -> None:
    settings = make_system(redis_server, MAX_BATCH_SIZE=1, TEST_FAULTS="slow=0.5", **SMALL).settings
    terminal = TerminalScript("run_model_server.py", **settings)
    try:
        eventually(lambda: queue.live_workers() == 1, what=terminal.output)
        jobs = enqueue(queue, 4)
        eventually(lambda: "claimed" in terminal.output)
        terminal.close()
        assert terminal.process.wait(timeout=30) == 0
    finally:
        terminal.end()
    assert len(results(queue, jobs)) + queue.depth() == 4
    assert not queue.client.keys("*:processing:*")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_every_process_of_a_fleet_ends_no_batch_in_hand(
    redis_server: RedisServer, make_system: MakeSystem, queue: JobQueue, number: signal.Signals
) -> None:
    fleet = make_system(redis_server, **SMALL).worker("--workers", "2", MAX_BATCH_SIZE=1, TEST_FAULTS="slow=0.7")
    eventually(lambda: queue.live_workers() == 2)
    jobs = enqueue(queue, 4)
    eventually(lambda: len({line["worker"] for line in fleet.lines("joined")}) == 2)
    eventually(lambda: len(fleet.lines("claimed")) >= 2)
    # As systemd does: each process of the unit, and the supervisor then tells its workers once more.
    for pid in (*fleet.children(), fleet.pid):
        os.kill(pid, number)
    assert fleet.wait() == 0
    assert len(fleet.lines("child_started")) == 2
    assert len(results(queue, jobs)) >= 2, "both have finished what they computed"
    assert len(results(queue, jobs)) + queue.depth() == 4
    assert not queue.client.keys("*:processing:*")


@pytest.mark.usefixtures("signals_restored")
def test_a_hang_up_that_nohup_has_switched_off_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    on_stop_signals(lambda: None)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
