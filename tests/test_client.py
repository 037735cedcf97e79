"""The client: what the server answers comes out as an Answer, or as the error that the server raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue import client as client_module
from imagequeue import errors
from imagequeue.client import Answer, Client, ServerAway, WrongShape
from imagequeue.errors import ImageQueueError, QueueFull, Unavailable
from tests.support.fakeserver import FakeServer, Reply, answer, refusal
from tests.support.redisserver import free_port


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between the tries, instead of waiting."""
    waits: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", waits.append)
    return waits


def test_an_answer_has_its_predictions_id_model_and_timing(fake_server: FakeServer) -> None:
    timed = answer(weights="random")
    fake_server.replies = [Reply(200, timed.body, {"Server-Timing": "decode;dur=1.5, queue;dur=2, odd, total;dur=x"})]
    with Client(fake_server.url + "/") as client:
        found = client.predict(b"photo", top=3, request_id="r-1")
    assert [(p.label, p.probability) for p in found.predictions[:2]] == [("castle", 0.9936), ("monastery", 0.0045)]
    assert (found.id, found.model, found.weights) == ("1f" * 16, "resnet50", "random")
    assert found.timing == {"decode": 1.5, "queue": 2.0}
    ((path, headers, body),) = fake_server.requests
    assert (path, body) == ("/predict?top=3", b"photo")
    assert headers["X-Request-ID"] == "r-1"
    assert headers["Content-Type"] == "application/octet-stream"


def test_a_file_is_named_by_its_path(fake_server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"the bytes")
    with Client(fake_server.url) as client:
        client.predict(tmp_path / "photo.jpg")
        client.predict(str(tmp_path / "photo.jpg"))
        with pytest.raises(OSError, match="No such file"):
            client.predict(tmp_path / "none.jpg")
    assert [body for _, _, body in fake_server.requests] == [b"the bytes"] * 2


def test_the_connection_is_kept(fake_server: FakeServer) -> None:
    fake_server.replies = [refusal(422, "bad_image"), answer()]
    with Client(fake_server.url) as client:
        with pytest.raises(errors.BadImage):
            client.predict(b"x")
        for _ in range(5):
            client.predict(b"x")
    assert fake_server.connections == 1


def test_a_key_is_sent_where_there_is_one(fake_server: FakeServer) -> None:
    for key in ("", "secret"):
        with Client(fake_server.url, api_key=key) as client:
            client.predict(b"x")
    assert [headers.get("Authorization") for _, headers, _ in fake_server.requests] == [None, "Bearer secret"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (404, errors.NotFound),
        (413, errors.TooLarge),
        (415, errors.Unsupported),
        (422, errors.BadImage),
        (429, errors.TooMany),
        (500, errors.JobFailed),
        (503, errors.Unavailable),
        (504, errors.DeadlineExceeded),
        (405, errors.ClientError),
        (502, errors.ImageQueueError),
    ],
)
def test_a_refusal_is_raised_as_the_error_that_the_server_raised(
    fake_server: FakeServer, status: int, error: type[ImageQueueError]
) -> None:
    fake_server.replies = [refusal(status, "a_code", "Not this one.")]
    with Client(fake_server.url, retries=0) as client, pytest.raises(ImageQueueError) as raised:
        client.predict(b"x")
    assert type(raised.value) is error
    assert (raised.value.message, raised.value.code) == ("Not this one.", "a_code")


def test_every_error_of_the_tree_that_a_server_answers_comes_out_as_itself_or_what_it_is(
    fake_server: FakeServer,
) -> None:
    for error in (errors.QueueFull, errors.NoWorkers, errors.RedisDown, errors.ServerBusy, errors.JobLost):
        fake_server.replies = [refusal(error.status, error.code)]
        with Client(fake_server.url, retries=0) as client, pytest.raises(Unavailable) as raised:
            client.predict(b"x")
        assert raised.value.code == error.code


def test_a_503_is_tried_again_after_as_many_seconds_as_the_server_asks_for(
    fake_server: FakeServer, slept: list[float]
) -> None:
    fake_server.replies = [refusal(503, "queue_full", Retry_After="7"), refusal(503, "no_workers"), answer()]
    with Client(fake_server.url, retries=2) as client:
        assert client.predict(b"x").predictions[0].label == "castle"
    assert slept == [7, 1]
    assert [body for _, _, body in fake_server.requests] == [b"x"] * 3


def test_after_the_last_try_the_refusal_is_raised_with_its_wait(fake_server: FakeServer, slept: list[float]) -> None:
    fake_server.replies = [refusal(503, "queue_full", Retry_After="7")]
    with Client(fake_server.url, retries=2) as client, pytest.raises(Unavailable) as raised:
        client.predict(b"x")
    assert raised.value.retry_after == 7
    assert (slept, len(fake_server.requests)) == ([7, 7], 3)


def test_nothing_else_is_tried_again(fake_server: FakeServer, slept: list[float]) -> None:
    for status in (400, 422, 429, 500, 504):
        fake_server.replies = [refusal(status, "no")]
        with Client(fake_server.url) as client, pytest.raises(ImageQueueError):
            client.predict(b"x")
    assert slept == []
    assert len(fake_server.requests) == 5


def test_a_server_that_is_not_there_is_away() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(ServerAway, match=f"No answer from {url}: connection refused"):
        client.predict(b"x")


def test_a_server_that_breaks_off_is_away(fake_server: FakeServer) -> None:
    fake_server.replies = [Reply(200, b'{"success": true, ', is_cut=True)]
    with Client(fake_server.url) as client, pytest.raises(ServerAway, match="failed or broke"):
        client.predict(b"x")


def test_a_server_that_is_silent_is_away() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.1) as client, pytest.raises(ServerAway, match="it took too long"):
            client.predict(b"x")


@pytest.mark.parametrize("url", ["127.0.0.1:5000", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_an_address_that_is_none_is_told_in_one_line(url: str) -> None:
    with Client(url) as client, pytest.raises(ServerAway, match="No answer from") as raised:
        client.predict(b"x")
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>It works!</html>"),
        Reply(200, b""),
        Reply(200, []),
        Reply(200, {}),
        Reply(200, {"success": True, "id": "1"}),
        Reply(200, {"success": True, "id": "1", "predictions": []}),
        Reply(200, {"success": True, "id": "1", "predictions": ["castle"]}),
        Reply(200, {"success": True, "id": "1", "predictions": [{"label": "castle"}]}),
        Reply(200, {"success": True, "predictions": [{"label": "castle", "probability": 0.5}]}),
        Reply(200, {"success": False, "id": "1", "predictions": [{"label": "castle", "probability": 0.5}]}),
        answer([("church", 0.1), ("castle", 0.9)]),
        answer([("castle", 99.36)]),
        answer([("castle", -0.5)]),
        answer([("castle", float("nan"))]),
        Reply(502, b"<html>Bad Gateway</html>"),
        Reply(500, {"error": "text"}),
        Reply(404, {"detail": "Not Found"}),
        Reply(400, ["no"]),
    ],
)
def test_an_answer_of_the_wrong_shape_is_none(fake_server: FakeServer, reply: Reply) -> None:
    fake_server.replies = [reply]
    with Client(fake_server.url) as client, pytest.raises(WrongShape):
        client.predict(b"x")


def test_it_waits_no_longer_than_it_was_told_to(fake_server: FakeServer, slept: list[float]) -> None:
    fake_server.replies = [refusal(503, "queue_full", Retry_After="3600")]
    with Client(fake_server.url, longest_wait=60) as client:
        with pytest.raises(QueueFull):
            client.predict(b"x")
        (found,) = client.predict_many([b"x"])
    assert isinstance(found, QueueFull)
    assert (slept, len(fake_server.requests)) == ([], 2)


def test_of_many_only_those_that_were_refused_are_sent_again(fake_server: FakeServer, slept: list[float]) -> None:
    full = {"error": {"code": "queue_full", "message": "Full."}, "id": ""}
    good = answer().body
    fake_server.replies = [Reply(200, {"success": True, "results": [good, full, good]}), answer(id="2f" * 16)]
    with Client(fake_server.url) as client:
        found = client.predict_many([b"one", b"two", b"three"])
    assert [outcome.id for outcome in found if isinstance(outcome, Answer)] == ["1f" * 16, "2f" * 16, "1f" * 16]
    assert slept == [1]
    bodies = [body for _, _, body in fake_server.requests]
    assert [[name in body for name in (b"one", b"two")] for body in bodies] == [[True, True], [False, True]]


def test_a_refusal_of_a_whole_request_is_the_outcome_of_each_of_its_images(fake_server: FakeServer) -> None:
    fake_server.replies = [refusal(413, "too_large")]
    with Client(fake_server.url) as client:
        found = client.predict_many([b"one", b"two"])
    assert [type(outcome) for outcome in found] == [errors.TooLarge] * 2


@pytest.mark.parametrize("results", [None, "x", [], [answer().body] * 3, [answer().body, "x"]])
def test_results_that_are_not_one_for_each_image_are_of_the_wrong_shape(
    fake_server: FakeServer, results: object
) -> None:
    fake_server.replies = [Reply(200, {"success": True, "results": results})]
    with Client(fake_server.url) as client, pytest.raises(WrongShape):
        client.predict_many([b"one", b"two"])


def test_requests_are_filled_by_number_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CHUNK_IMAGES", 3)
    monkeypatch.setattr(client_module, "CHUNK_BYTES", 10)
    chunks = client_module._chunks(bytes(size) for size in [1, 1, 1, 1, 9, 2, 50, 1])
    assert [[len(body) for body in chunk] for chunk in chunks] == [[1, 1, 1], [1, 9], [2], [50], [1]]
