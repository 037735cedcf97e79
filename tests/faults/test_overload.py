"""More than the system can take: the excess is told so at once, the rest is served, the probes are answered."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from urllib.parse import urlsplit

import requests

from bench.openloop import send
from imagequeue.client import Answer
from imagequeue.errors import Unavailable
from tests.faults.conftest import Case, MakeCase
from tests.support.pictures import picture
from tests.support.system import eventually

QUEUE = 16


class Probing:
    """/livez asked without a pause while the block runs."""

    def __init__(self, url: str) -> None:
        self.statuses: list[int] = []
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stopping.is_set():
            try:
                self.statuses.append(requests.get(f"{self._url}/livez", timeout=5).status_code)
            except requests.RequestException:
                self.statuses.append(0)

    def __enter__(self) -> Probing:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()


def flood(case: Case, first: int, clients: int) -> tuple[int, list[Unavailable]]:
    """Each client one image, all at once; how many were answered, and the refusals."""
    outcomes = case.history.send([picture(first + number) for number in range(clients)], connections=clients)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    answers = sum(isinstance(outcome, Answer) for outcome in outcomes)
    assert answers + len(refusals) == clients
    return answers, refusals


def test_of_ten_times_as_many_clients_as_may_wait_each_is_answered_or_refused_and_livez_never_fails(
    make_case: MakeCase,
) -> None:
    case = make_case(MAX_QUEUE_LENGTH=QUEUE, TEST_FAULTS="slow=0.02").start()
    with Probing(case.system.url) as probing:
        answers, refusals = flood(case, 0, 10 * QUEUE)
    assert answers >= QUEUE
    assert {refusal.code for refusal in refusals} <= {"queue_full", "server_busy"}
    assert "queue_full" in {refusal.code for refusal in refusals}
    assert all(refusal.retry_after >= 1 for refusal in refusals)
    assert set(probing.statuses) == {200}
    # Refused clients come back, and find room.
    assert flood(case, 5000, 4) == (4, [])
    case.history.check(refusals=["queue_full", "server_busy"])


def test_at_twice_the_capacity_as_much_is_served_as_at_the_capacity(make_case: MakeCase) -> None:
    case = make_case(MAX_QUEUE_LENGTH=QUEUE, TEST_FAULTS="slow=0.02").start()
    with case.server.client() as client:

        def completed() -> float:
            return float(client.hget("{image_queue}:stats", "completed") or 0)

        def served_while_offered(first: int, connections: int) -> float:
            """Images served for each second of a load that goes on until 40 are."""
            before = completed()
            started = float(client.time()[0]) + client.time()[1] / 1e6
            while completed() - before < 40:
                case.history.send([picture(first + n) for n in range(3 * connections)], connections=connections)
                first += 3 * connections
            return (completed() - before) / (float(client.time()[0]) + client.time()[1] / 1e6 - started)

        # Eight are in the worker's hands, QUEUE wait: that many clients keep it busy, and twice as many flood it.
        at_capacity = served_while_offered(0, QUEUE + 8)
        at_twice = served_while_offered(10_000, 2 * (QUEUE + 8))
    # Far from a collapse; how near to equal is for a quiet machine to say.
    assert at_twice > 0.5 * at_capacity
    case.history.check(refusals=["queue_full", "server_busy"])


def test_an_overload_that_lasts_is_answered_in_time_or_refused(make_case: MakeCase) -> None:
    # Twice what the model can do, of which a queue without admission would hold more than has time: all would be late.
    case = make_case(TEST_FAULTS="slow=0.02", REQUEST_TIMEOUT=2).start()
    replies = send(urlsplit(case.system.url).port or 0, picture, rate=100, seconds=8)
    codes = Counter(reply.code or "answered" for reply in replies if reply.sent > 4)
    assert codes["queue_full"] > 0, codes
    assert codes["answered"] > 10 * codes["deadline_exceeded"], codes
    assert set(codes) <= {"answered", "queue_full", "deadline_exceeded", "server_busy"}, codes
    assert all(int(reply.retry_after) >= 1 for reply in replies if reply.code == "queue_full")


def test_a_job_past_its_deadline_is_never_computed(make_case: MakeCase) -> None:
    case = make_case(LEASE_SECONDS=30, REQUEST_TIMEOUT=1.5).start()
    worker = case.system.workers[0]
    worker.signal(signal.SIGSTOP)
    outcomes = case.history.send([picture(number) for number in range(6)], connections=6)
    assert {getattr(outcome, "code", "") for outcome in outcomes} == {"deadline_exceeded"}
    worker.signal(signal.SIGCONT)
    assert isinstance(*case.history.send([picture(100)]), Answer)
    assert len({line["job"] for line in worker.lines("claimed")}) == 1
    case.history.check(refusals=["deadline_exceeded"])


def test_after_an_overload_redis_holds_as_little_as_before(make_case: MakeCase) -> None:
    case = make_case(MAX_QUEUE_LENGTH=QUEUE, RESULT_TTL=10).start()
    with case.server.client() as client:
        eventually(lambda: client.dbsize() > 0)
        case.history.send([picture(0)])
        keys = {key for key in client.keys("*") if b":result:" not in key}

        def lasting() -> set[bytes]:
            """The new keys that Redis does not forget within RESULT_TTL."""
            left = {key: client.pttl(key) for key in client.keys("*") if key not in keys}
            return {key for key, milliseconds in left.items() if milliseconds == -1 or milliseconds > 10_000}

        flood(case, 100, 6 * QUEUE)
        eventually(lambda: not lasting(), what=str(lasting()))
    case.history.check(refusals=["queue_full", "server_busy"])
