"""The client against the service itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server

from imagequeue import client as client_module
from imagequeue import errors
from imagequeue.client import Answer, Client
from imagequeue.errors import BadImage, Cancelled, NotFound
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.system import eventually


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    server = make_server("127.0.0.1", 0, service.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_port}") as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_the_service_raised_is_raised_here(client: Client) -> None:
    assert client.predict(picture(1)).predictions[0].label == null_label(picture(1), SIZE)
    with pytest.raises(BadImage, match="no image"):
        client.predict(b"no image")
    with pytest.raises(errors.BadRequest, match="top"):
        client.predict(picture(1), top=5000)


def test_many_images_are_answered_in_order_each_bad_one_by_its_error(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CHUNK_IMAGES", 4)
    images = [b"no image" if number in (2, 8) else picture(number) for number in range(9)]
    found = client.predict_many(images, top=1)
    assert len(found) == 9
    for number, outcome in enumerate(found):
        if number in (2, 8):
            assert isinstance(outcome, BadImage)
        else:
            assert isinstance(outcome, Answer)
            assert outcome.predictions[0].label == null_label(images[number], SIZE)
    assert client.predict_many([]) == []


def test_an_image_may_be_sent_now_and_asked_for_later(client: Client) -> None:
    job_id = client.submit(picture(5), top=1)
    eventually(lambda: client.fetch(job_id) is not None)
    found = client.fetch(job_id)
    assert found is not None
    assert (found.id, found.predictions[0].label) == (job_id, null_label(picture(5), SIZE))
    assert not client.cancel(job_id), "it is done"
    with pytest.raises(NotFound):
        client.fetch("0" * 32)


def test_a_cancelled_job_raises_that_when_it_is_fetched(client: Client, service: Service) -> None:
    # Accepted by Redis, and out of every worker's reach.
    job_id = "0123456789abcdef" * 2
    service.queue.client.hset(service.queue.key(f"job:{job_id}"), mapping={"state": "waiting", "deadline": "9e15"})
    assert client.fetch(job_id) is None
    assert client.cancel(job_id)
    with pytest.raises(Cancelled):
        client.fetch(job_id)
