"""/metrics of four Gunicorn processes: no request lost to the count, whichever process served it, whichever died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from imagequeue.client import Answer
from tests.support.load import send_all
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.scrape import scrape
from tests.support.system import ROOT, System, eventually

MakeSystem = Callable[..., System]


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def answered(url: str) -> int:
    return int(scrape(f"{url}/metrics").value("http_requests_total", route="/predict", code="200"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
def test_counters_equal_the_requests_sent_over_four_processes_and_a_restart_of_one(
    number: int, redis_server: RedisServer, make_system: MakeSystem, tmp_path: Path
) -> None:
    private = tmp_path / "temporary"
    private.mkdir()
    system = make_system(redis_server, WEB_PROCESSES=4, TMPDIR=private, PROMETHEUS_MULTIPROC_DIR="").start()
    master = system.webs[0].pid
    eventually(lambda: len(children(master)) == 4)
    before = children(master)

    def serving() -> set[int]:
        # Each process counts in a file of its own.
        files = private.glob("imagequeue-metrics-*/counter_*.db")
        return {int(file.stem.rpartition("_")[2]) for file in files if b"/predict" in file.read_bytes()}

    sent = 0

    def send_until_all_have_served() -> bool:
        nonlocal sent
        sent += len([a for a in send_all(system.urls, [picture(n) for n in range(24)], 12) if a is not None])
        return serving() >= children(master)

    eventually(send_until_all_have_served, what="a request to each of the processes")
    assert answered(system.url) == sent
    victim = min(before)
    os.kill(victim, number)
    # The list is read once: between two readings the dead process may leave it and its successor not be in it yet.
    eventually(lambda: len(children(master) - before) == 1, what="a successor of the ended process")
    (born,) = children(master) - before
    eventually(send_until_all_have_served, what="a request to the new process, too")
    assert born in serving()
    # Each process gives the sum of all, the dead one's share included.
    assert {answered(system.url) for _ in range(8)} == {sent}
    found = scrape(f"{system.url}/metrics")
    assert found.value("images_total", outcome="answered") == sent
    assert found.value("stage_seconds_count", stage="total") == sent
    # What Redis counts may be half a second old.
    eventually(lambda: scrape(f"{system.url}/metrics").value("jobs_completed_total") == sent)
    assert found.value("http_requests_in_flight") == 1, "this one; the dead have none"
    # /stats has the answers of all of them, too, whichever gives it, once it is made anew.
    eventually(lambda: {requests.get(f"{system.url}/stats").json()["latency"]["count"] for _ in range(8)} == {sent})
    system.webs[0].signal(signal.SIGTERM)
    system.webs[0].wait()
    assert list(private.glob("imagequeue-metrics-*")) == [], "the master removes what it made"


def test_gunicorn_started_by_hand_counts_right_with_a_directory_that_the_user_names(
    redis_server: RedisServer, make_system: MakeSystem, tmp_path: Path
) -> None:
    system = make_system(redis_server)
    system.worker()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--bind", f"127.0.0.1:{port}", "--workers", "2", "--worker-class", "gthread", "--threads", "12"]
    environment = {**os.environ, "REDIS_URL": redis_server.url, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with open(tmp_path / "gunicorn.log", "wb") as log:
        gunicorn = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "run_web_server:app"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: system.is_ready(url))
        answers = send_all([url], [picture(n) for n in range(40)], 12)
        assert sum(isinstance(answer, Answer) for answer in answers) == 40
        assert {answered(url) for _ in range(6)} == {40}
    finally:
        gunicorn.terminate()
        gunicorn.wait(timeout=30)


def test_each_worker_of_a_fleet_tells_of_itself_on_a_port_of_its_own(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server)
    fleet = system.worker("--workers", "2", METRICS_PORT=free_port())
    eventually(lambda: len(fleet.lines("metrics")) == 2 and len(fleet.lines("joined")) == 2)
    system.web()
    eventually(system.is_ready)
    answers = send_all(system.urls, [picture(n) for n in range(60)], 8)
    assert sum(isinstance(answer, Answer) for answer in answers) == 60
    found = [scrape(f"http://{line['address']}/metrics") for line in fleet.lines("metrics")]
    assert sum(one.value("worker_images_total", outcome="completed") for one in found) == 60
    assert sum(one.value("worker_batch_size_sum") for one in found) == 60
