"""Workers that die, or stand still, at each point of their loop."""

from __future__ import annotations

import signal
import time

import pytest

from imagequeue.client import Answer
from tests.faults.conftest import LEASE, MakeCase
from tests.support.pictures import picture
from tests.support.system import Script, eventually

IMAGES = [picture(number) for number in range(40)]


def test_a_worker_killed_in_the_middle_of_a_full_batch_costs_no_answer(make_case: MakeCase) -> None:
    # With lanes it has two of them.
    case = make_case(TEST_FAULTS="lanes slow=0.05").start(webs=2, workers=2)
    sending = case.history.start(IMAGES, connections=24)
    with_full_batch: list[Script] = []

    def has_full_batch() -> bool:
        with_full_batch[:] = [
            w for w in case.system.workers if any(line["batch"] == "8" for line in w.lines("claimed"))
        ]
        return bool(with_full_batch)

    eventually(has_full_batch)
    with_full_batch[0].signal(signal.SIGKILL)
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    case.history.check()
    with case.server.client() as client:
        assert client.hget("{image_queue}:stats", "crashes"), "the batch was in its hands when it died"


@pytest.mark.parametrize(
    "faults",
    [
        "crash=rung:1",
        "crash=claimed:2",
        "crash=predicted:2",
        "crash=completed:2",
        "lanes crash=claimed:2",
        "lanes crash=predicted:1",
    ],
)
def test_a_worker_that_kills_itself_at_any_point_of_its_loop_costs_no_answer(make_case: MakeCase, faults: str) -> None:
    case = make_case(TEST_FAULTS="slow=0.01").start()
    # The first claim finds nothing yet.
    victim = case.system.worker(TEST_FAULTS=f"slow=0.01 {faults}")
    sending = case.history.start(IMAGES, connections=12)
    assert victim.wait() == -signal.SIGKILL
    assert victim.lines("fault")[0]["point"] in faults
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    case.history.check()


def test_a_worker_stopped_for_longer_than_its_lease_is_fenced_and_its_late_results_count_for_nothing(
    make_case: MakeCase,
) -> None:
    case = make_case().start()
    sleeper = case.system.worker(TEST_FAULTS="crash=predicted:1:STOP")
    first_id = sleeper.lines("joined")[0]["worker"]
    sending = case.history.start(IMAGES, connections=12)
    eventually(lambda: sleeper.lines("fault"))
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    sleeper.signal(signal.SIGCONT)
    eventually(lambda: len(sleeper.lines("joined")) == 2, what="it takes a new id")
    assert sleeper.lines("joined")[1]["worker"] != first_id
    assert [line["stored"] for line in sleeper.lines("late")] == ["0"]
    # And it serves on.
    case.system.workers[0].stop()
    case.history.send([picture(1000)])
    case.history.check()


def test_a_worker_stopped_for_many_leases_is_not_taken_for_one_that_hangs(make_case: MakeCase) -> None:
    lease = LEASE / 2
    case = make_case(LEASE_SECONDS=lease).start()
    worker = case.system.workers[0]
    worker.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    # One that hangs is given up after two.
    eventually(lambda: time.monotonic() > stopped + 3.5 * lease)
    worker.signal(signal.SIGCONT)
    eventually(case.system.is_ready)
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[:4]))
    assert worker.is_running
    case.history.check()
