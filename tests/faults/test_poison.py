"""Images that the model cannot bear: they fail alone, and their neighbours succeed."""

from __future__ import annotations

import json
import signal

import pytest

from imagequeue.client import Answer
from imagequeue.dead import Dead
from imagequeue.errors import ImageQueueError
from imagequeue.job import id_of
from tests.faults.conftest import LEASE, Case, MakeCase
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.system import eventually

INNOCENTS = [picture(number) for number in range(1, 16)]
POISON = picture(10_000)


def poison_class() -> str:
    number = null_label(POISON).removeprefix("null_")
    assert null_label(POISON) not in {null_label(image) for image in INNOCENTS}
    return number


def outcomes_of(case: Case) -> tuple[object, list[object]]:
    """What became of the poison and of the innocents, all sent at once."""
    poison, *innocents = case.history.send([POISON, *INNOCENTS], connections=16)
    return poison, list(innocents)


def dead(case: Case) -> list[Dead]:
    with case.server.client() as client:
        return [Dead.decode(entry) for entry in client.lrange("{image_queue}:dead", 0, -1)]


def test_an_image_that_raises_fails_alone_and_is_kept_with_its_reason(make_case: MakeCase) -> None:
    case = make_case(TEST_FAULTS=f"raise={poison_class()} slow=0.005").start()
    poison, innocents = outcomes_of(case)
    assert isinstance(poison, ImageQueueError)
    assert poison.code == "job_failed"
    assert all(isinstance(outcome, Answer) for outcome in innocents)
    (entry,) = dead(case)
    assert "as TEST_FAULTS asks" in entry.reason
    assert json.loads(entry.document)["id"] == id_of(entry.document)
    case.history.check(refusals=["job_failed"])


@pytest.mark.parametrize("model", ["", "lanes "])
def test_an_image_that_kills_its_worker_is_convicted_after_its_limit_and_the_fleet_serves_on(
    make_case: MakeCase, model: str
) -> None:
    case = make_case(TEST_FAULTS=f"{model}kill={poison_class()} slow=0.005", MAX_CRASHES=2)
    fleet = case.start_fleet(2)
    poison, innocents = outcomes_of(case)
    assert isinstance(poison, ImageQueueError)
    assert poison.code == "job_failed", "before its deadline"
    assert all(isinstance(outcome, Answer) for outcome in innocents)
    (entry,) = dead(case)
    assert entry.reason == "Its worker died 2 times while holding this image."
    # Twice and never again: the second time it was alone, so it took no innocent with it.
    assert len(fleet.lines("fault")) == 2
    eventually(lambda: len(fleet.children()) == 2, what="both seats are taken again")
    case.history.check(refusals=["job_failed"])


@pytest.mark.parametrize("model", ["", "lanes slow=0.005 "])
def test_an_image_on_which_the_model_hangs_is_convicted_too(make_case: MakeCase, model: str) -> None:
    case = make_case(TEST_FAULTS=f"{model}hang={poison_class()}", LEASE_SECONDS=LEASE / 2, MAX_CRASHES=2)
    fleet = case.start_fleet(2)
    poison, innocents = outcomes_of(case)
    assert isinstance(poison, ImageQueueError)
    assert poison.code == "job_failed"
    assert all(isinstance(outcome, Answer) for outcome in innocents)
    assert len(fleet.lines("fault")) == 2
    case.history.check(refusals=["job_failed"])


@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_is_the_number_of_deaths(make_case: MakeCase, limit: int) -> None:
    case = make_case(TEST_FAULTS=f"kill={poison_class()}", MAX_CRASHES=limit, LEASE_SECONDS=LEASE / 2)
    case.system.web()
    workers = [case.system.worker() for _ in range(limit + 1)]
    (poison,) = case.history.send([POISON])
    assert isinstance(poison, ImageQueueError)
    deaths = [worker for worker in workers if worker.process.poll() == -signal.SIGKILL]
    assert len(deaths) == limit
    case.history.check(refusals=["job_failed"])
