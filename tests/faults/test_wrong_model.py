"""A model that turns wrong in the middle of its work: nobody gets its answers, and the service goes on."""

from __future__ import annotations

import pytest

from imagequeue.client import Answer
from imagequeue.errors import NoWorkers
from imagequeue.selfcheck import WRONG_EXIT_CODE
from tests.faults.conftest import MakeCase
from tests.support.pictures import picture
from tests.support.system import eventually


@pytest.mark.parametrize("model", ["", "lanes "])
def test_a_model_that_turns_wrong_answers_nobody_and_its_worker_is_started_again(
    make_case: MakeCase, model: str
) -> None:
    # Each worker in its turn: the checks at its start are some of the calls.
    case = make_case(TEST_FAULTS=f"{model}wrong=12 slow=0.005", REQUEST_TIMEOUT=60)
    fleet = case.start_fleet(2)
    images = [picture(number) for number in range(1, 97)]

    def send_what_was_not_answered() -> bool:
        # Where both workers are being started again at once, the truth is a refusal: no worker is alive.
        nonlocal images
        outcomes = case.history.send(images, connections=32)
        assert {type(outcome) for outcome in outcomes} <= {Answer, NoWorkers}
        images = [image for image, outcome in zip(images, outcomes, strict=True) if isinstance(outcome, NoWorkers)]
        return not images

    eventually(send_what_was_not_answered, 60, "an answer to each image")
    eventually(lambda: fleet.lines("child_died"))
    assert {line["exit"] for line in fleet.lines("child_died")} == {str(WRONG_EXIT_CODE)}
    assert {line["exit"] for line in fleet.lines("model_wrong")} == {str(WRONG_EXIT_CODE)}
    eventually(lambda: len(fleet.children()) == 2, what="both seats are taken again")
    # Each image its own label, and no job was charged with the death of its worker.
    case.history.check(refusals=["no_workers"])
    assert not fleet.lines("reaped")
