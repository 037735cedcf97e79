"""The clients that people have, each as its own documentation shows it, against a real server."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import aiohttp
import pytest
import requests

from imagequeue.jobqueue import JobQueue
from settings import Settings
from tests.support.clients import class_of, label_of, needs_curl, run
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System, eventually

JPEG = {"Content-Type": "image/jpeg"}


# The original ones.


def test_the_tutorials_client_works_unchanged(url: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    payload = {"image": photo.read_bytes()}
    r = requests.post(f"{url}/predict", files=payload).json()
    assert r["success"]
    for i, result in enumerate(r["predictions"]):
        print(f"{i + 1}. {result['label']}: {result['probability']:.4f}")  # noqa: T201 - what that client does
    assert capsys.readouterr().out.splitlines()[0] == f"1. {label_of(photo)}: 1.0000"


def test_the_tutorials_stress_test_works_unchanged(url: str, photo: Path) -> None:
    image, failed = photo.read_bytes(), []

    def call_predict_endpoint(n: int) -> None:
        r = requests.post(f"{url}/predict", files={"image": image}).json()
        if not r["success"]:
            failed.append(n)

    threads = [Thread(target=call_predict_endpoint, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_they_find_the_server_where_it_is_by_default() -> None:
    defaults = Settings()
    assert (defaults.web_host, defaults.web_port) == ("127.0.0.1", 5000)


# Command lines.


@needs_curl
@pytest.mark.parametrize(
    "arguments",
    [
        ["-F", "image=@{file}"],
        ["-F", "image=@{file};type=image/jpeg"],
        ["-H", "Content-Type: image/jpeg", "--data-binary", "@{file}"],
        ["-H", "Content-Type: application/octet-stream", "-T", "{file}", "-X", "POST"],
        ["-H", "Content-Type: image/jpeg", "-H", "Transfer-Encoding: chunked", "--data-binary", "@{file}"],
        ["-H", "Content-Type: application/json", "-d", "@{json}"],
    ],
    ids=["form", "typed form", "body", "upload", "chunked", "json"],
)
def test_curl(url: str, photo: Path, tmp_path: Path, arguments: list[str]) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"image": base64.b64encode(photo.read_bytes()).decode()}))
    filled = [argument.format(file=photo, json=body) for argument in arguments]
    answer = run("curl", "-sS", *filled, f"{url}/predict")
    assert answer["predictions"][0]["label"] == label_of(photo)


@needs_curl
def test_curl_sends_now_and_asks_later(url: str, photo: Path) -> None:
    accepted = run("curl", "-sS", "-H", "Prefer: respond-async", "-F", f"image=@{photo}", f"{url}/predict")
    job = url + accepted["location"]
    eventually(lambda: run("curl", "-sS", job)["state"] == "done")
    assert run("curl", "-sS", job)["predictions"][0]["label"] == label_of(photo)
    assert run("curl", "-sS", "-X", "DELETE", job)["state"] == "done"


@needs_curl
def test_curl_with_a_raw_picture_to_the_open_inference_protocol(url: str, photo: Path) -> None:
    header = "Inference-Header-Content-Length: 0"
    answer = run("curl", "-sS", "-H", header, "--data-binary", f"@{photo}", f"{url}/v2/models/null/infer")
    data = answer["outputs"][0]["data"]
    assert data.index(max(data)) == class_of(photo.read_bytes())


def test_httpie(url: str, photo: Path) -> None:
    http = str(Path(sys.executable).with_name("http"))
    form = run(http, "--ignore-stdin", "--body", "--form", "POST", f"{url}/predict", f"image@{photo}")
    assert form["predictions"][0]["label"] == label_of(photo)
    text = base64.b64encode(photo.read_bytes()).decode()
    as_json = run(http, "--ignore-stdin", "--body", "POST", f"{url}/predict", f"image={text}", "top==2")
    assert len(as_json["predictions"]) == 2
    assert as_json["predictions"][0]["label"] == label_of(photo)


def test_the_settings_of_pages_and_of_patience_reach_the_server(
    redis_server: RedisServer, make_system: Callable[..., System], photo: Path
) -> None:
    system = make_system(redis_server, CORS_ORIGINS="https://photos.example", JOB_TIMEOUT=0.05)
    system.web()
    JobQueue(redis_server.client()).join("silent", 30.0, {"model": "null"})
    headers = {"Origin": "https://photos.example", "Prefer": "respond-async"}
    accepted = requests.post(f"{system.url}/predict", data=photo.read_bytes(), headers=headers | JPEG, timeout=30)
    assert accepted.status_code == 202
    assert accepted.headers["Access-Control-Allow-Origin"] == "https://photos.example"
    job = system.url + accepted.headers["Location"]
    eventually(lambda: requests.get(job, timeout=30).json()["state"] == "failed")
    assert requests.get(job, timeout=30).json()["error"]["code"] == "deadline_exceeded"


# Libraries.


def test_requests_with_an_open_file_and_with_json(url: str, photo: Path) -> None:
    with photo.open("rb") as file:
        from_file = requests.post(f"{url}/predict", files={"image": file}, timeout=30)
    text = base64.b64encode(photo.read_bytes()).decode()
    from_json = requests.post(f"{url}/predict", json={"images": [text, f"data:image/jpeg;base64,{text}"]}, timeout=30)
    assert from_file.json()["predictions"][0]["label"] == label_of(photo)
    assert [r["predictions"][0]["label"] for r in from_json.json()["results"]] == [label_of(photo)] * 2


def test_aiohttp_with_many_at_once_over_one_session(url: str) -> None:
    images = [picture(number) for number in range(20)]

    async def send(session: aiohttp.ClientSession, image: bytes) -> str:
        form = aiohttp.FormData()
        form.add_field("image", image, filename="photo.png", content_type="image/png")
        async with session.post(f"{url}/predict", data=form) as response:
            answer = await response.json()
            return str(answer["predictions"][0]["label"])

    async def send_all() -> list[str]:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(send(session, image) for image in images))

    assert asyncio.run(send_all()) == [null_label(image) for image in images]


def test_64_images_in_one_request_are_answered_in_order_the_bad_ones_marked(url: str) -> None:
    bad = {3, 17, 63}
    images = [b"no image" if number in bad else picture(number) for number in range(64)]
    response = requests.post(f"{url}/predict", files=[("image", image) for image in images], timeout=60)
    assert response.status_code == 200
    results = response.json()["results"]
    assert len(results) == 64
    for number, result in enumerate(results):
        if number in bad:
            assert result["error"]["code"] == "bad_image", number
        else:
            assert result["predictions"][0]["label"] == null_label(images[number]), number
    assert len({result["id"] for number, result in enumerate(results) if number not in bad}) == 61, "a job each"
