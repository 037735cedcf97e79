"""The values that travel: what is encoded is what is decoded, and the id stands where Lua looks for it."""

from __future__ import annotations

import base64
import json

import pytest

from imagequeue.errors import DeadlineExceeded, JobFailed
from imagequeue.job import ID_LENGTH, Job, Prediction, Result, id_of, new_id

PIXELS = bytes(range(256)) * 3


def test_a_job_comes_back_as_it_was_sent() -> None:
    job = Job(pixels=PIXELS, reply_to="web:host:1:ab", top=3)
    assert Job.decode(job.encode()) == job


def test_a_job_is_plain_json_with_the_image_in_base64() -> None:
    job = Job(pixels=PIXELS, reply_to="web-1")
    assert json.loads(job.encode()) == {
        "id": job.id,
        "reply_to": "web-1",
        "top": 5,
        "image": base64.b64encode(PIXELS).decode(),
    }


def test_the_id_is_read_from_the_head_of_a_job_and_of_a_result() -> None:
    job = Job(pixels=PIXELS)
    assert len(job.id) == ID_LENGTH
    assert id_of(job.encode()) == job.id
    assert id_of(Result(id=job.id, predictions=(Prediction("castle", 0.5, 483),)).encode()) == job.id
    assert id_of(Result(id=job.id, error=JobFailed("No.")).encode()) == job.id


def test_the_id_of_what_is_no_document_is_some_text() -> None:
    assert id_of(b"\xff" * 100) == "�" * ID_LENGTH
    assert id_of(b"") == ""


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff\xfe\xfd",
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"id":"a","reply_to":"","top":5}',
        b'{"id":"a","reply_to":"","top":5,"image":"not base64!"}',
        b'{"id":"a","reply_to":"","top":5,"image":12}',
        b'{"id":"a","reply_to":"","top":"many","image":""}',
        b'{"id":"a","reply_to":"","top":null,"image":""}',
    ],
)
def test_what_is_no_job_document_raises_value_error(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind; json and base64 raise their own
        Job.decode(document)


def test_a_result_comes_back_as_it_was_sent() -> None:
    result = Result(
        id=new_id(),
        predictions=(Prediction("château", 0.9936, 483), Prediction("alp", 1e-06, 970)),
        facts={"batch": 8, "model": "resnet50", "queued_ms": 4},
    )
    assert Result.decode(result.encode()) == result


def test_probabilities_keep_what_a_float32_holds() -> None:
    result = Result(id=new_id(), predictions=(Prediction("castle", 0.99360001087188721, 483),))
    assert Result.decode(result.encode()).predictions[0].probability == 0.99360001087188721
    small = Result(id=new_id(), predictions=(Prediction("castle", 1.2345678e-20, 483),))
    assert Result.decode(small.encode()).predictions[0].probability == 1.2345678e-20


def test_the_distribution_is_in_the_order_of_the_models_outputs() -> None:
    result = Result(
        id=new_id(), predictions=(Prediction("b", 0.75, 1), Prediction("c", 0.25, 2), Prediction("a", 0, 0))
    )
    assert result.distribution() == [0, 0.75, 0.25]


@pytest.mark.parametrize("error", [JobFailed("The model failed."), DeadlineExceeded("Too late.")])
def test_an_error_comes_back_as_its_class_with_its_message(error: JobFailed | DeadlineExceeded) -> None:
    found = Result.decode(Result(id=new_id(), error=error, facts={"batch": 1}).encode())
    assert type(found.error) is type(error)
    assert found.error is not None
    assert found.error.message == error.message
    assert found.predictions == ()
    assert found.facts == {"batch": 1}


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id":"a"}',
        b'{"id":"a","predictions":5}',
        b'{"id":"a","predictions":[["castle"]]}',
        b'{"id":"a","error":"text"}',
        b'{"id":"a","error":{}}',
    ],
)
def test_what_is_no_result_envelope_raises_value_error(envelope: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind, as above
        Result.decode(envelope)
