"""No log line and no answer of any process holds a secret, whatever state Redis is in; no upload touches the disk."""

from __future__ import annotations

import base64
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, Script, System, eventually

pytestmark = pytest.mark.slow

MakeSystem = Callable[..., System]

USER, PASSWORD, KEY = "u-5ca1ab1e", "p-0ddba11", "k-decafbad"
SECRETS = (USER, PASSWORD, KEY)


@pytest.fixture
def guarded(redis_server: RedisServer) -> str:
    """The address of a Redis that lets only one user in, who is forgotten when it is started again."""
    client = redis_server.client()
    client.acl_setuser(USER, enabled=True, passwords=[f"+{PASSWORD}"], categories=["+@all"], keys=["*"], channels=["*"])
    client.config_set("requirepass", "p-of-the-default-user")
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{redis_server.port}/0"


def ask_everything(system: System) -> list[requests.Response]:
    image = picture(1)
    auth = {"Authorization": f"Bearer {KEY}"}
    answers = [
        requests.post(f"{system.url}/predict", data=body, headers=headers | {"Content-Type": "image/png"}, timeout=60)
        for body, headers in ((image, auth), (b"none", auth), (image, {}), (image, {"X-API-Key": f"{KEY}x"}))
    ]
    return answers + [
        requests.get(f"{system.url}{path}", headers=auth, timeout=60) for path in ("/readyz", "/stats", "/nowhere")
    ]


def all_that_was_said(answers: list[requests.Response], *scripts: Script) -> str:
    shown = [f"{a.status_code} {a.headers} {a.text}" for a in answers]
    return "\n".join(shown + [script.output for script in scripts])


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_told_with_redis_up_away_or_refusing(
    log_format: str, guarded: str, redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(
        guarded, API_KEYS=f"alice:{KEY}", RATE_LIMIT="1000/minute", LOG_LEVEL="debug", LOG_FORMAT=log_format
    )
    web, worker = system.web(wait=False), system.worker(wait=False)
    eventually(system.is_ready, what="/readyz")
    answers = ask_everything(system)
    assert [answer.status_code for answer in answers] == [200, 422, 401, 401, 200, 200, 404]

    redis_server.kill()
    eventually(lambda: "redis_down" in worker.output and not system.is_ready())
    answers += ask_everything(system)
    assert answers[-7].status_code == 503

    redis_server.start(wait=False)
    eventually(lambda: "refuses the user" in worker.output and "refuses the user" in web.output, 40)
    answers += ask_everything(system)
    assert answers[-7].status_code == 503
    # And those who find it so at their start.
    late = [system.web(wait=False), system.worker(wait=False)]
    eventually(lambda: all("refuses the user" in script.output for script in late), 40)

    said = all_that_was_said(answers, web, worker, *late)
    assert "alice" in said
    assert not [secret for secret in SECRETS if secret in said]


def test_make_serve_tells_no_secret_of_a_redis_that_refuses_it(guarded: str) -> None:
    address = guarded.replace(PASSWORD, f"{PASSWORD}-wrong")
    served = subprocess.run(
        [sys.executable, "-m", "scripts.serve"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "REDIS_URL": address, "API_KEYS": KEY, "MODEL": "null", "WEB_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert served.returncode == 1
    assert "no Redis answers there" in served.stdout
    assert not [secret for secret in SECRETS if secret in served.stdout + served.stderr]


@pytest.mark.parametrize("script", ["run_web_server.py", "run_model_server.py", "simple_request.py", "stress_test.py"])
def test_help_tells_no_secret(script: str, tmp_path: Path) -> None:
    given = {"REDIS_URL": f"redis://{USER}:{PASSWORD}@host", "API_KEYS": KEY, "IMAGEQUEUE_API_KEY": KEY}
    helped = Script(script, "--help", log=tmp_path / "help", **given)
    assert helped.wait(60) == 0
    assert "usage:" in helped.output
    assert not [secret for secret in SECRETS if secret in helped.output]


def test_the_clients_take_the_key_from_the_environment_and_from_the_command_line(
    redis_server: RedisServer, make_system: MakeSystem, tmp_path: Path
) -> None:
    system = make_system(redis_server, API_KEYS=f"alice:{KEY}").start()

    def run(script: str, *arguments: str, **settings: str) -> Script:
        client = Script(script, "--url", system.url, *arguments, log=tmp_path / "client", **settings)
        client.wait(60)
        return client

    for script, options in (("simple_request.py", ()), ("stress_test.py", ("--requests", "5"))):
        assert run(script, *options, "--api-key", KEY).process.returncode == 0
        assert run(script, *options, IMAGEQUEUE_API_KEY=KEY).process.returncode == 0
        refused = run(script, *options, "--api-key", f"{KEY}x")
        assert refused.process.returncode == 1
        assert KEY not in refused.output


def test_uploads_are_served_by_a_process_that_may_not_write_a_single_byte_to_a_file(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server).start()
    master = system.webs[0].pid
    for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        # From here on each write to a file fails; sockets and pipes are none.
        resource.prlimit(int(pid), resource.RLIMIT_FSIZE, (0, 0))
    # Larger than what frameworks keep in memory by themselves.
    image = picture(1, (1600, 1500), "BMP")
    assert len(image) > 5_000_000

    def in_pieces() -> object:
        yield from (image[start : start + 100_000] for start in range(0, len(image), 100_000))

    bodies: list[dict[str, object]] = [
        {"files": {"image": ("photo.bmp", image)}},
        {"data": image, "headers": {"Content-Type": "image/bmp"}},
        {"data": in_pieces(), "headers": {"Content-Type": "image/bmp"}},
        {"json": {"image": base64.b64encode(image).decode()}},
    ]
    for body in bodies:
        answer = requests.post(f"{system.url}/predict", timeout=60, **body)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text


# Requests that Gunicorn's parser refuses, quoting what is wrong with them; the key is in the quotation.
BROKEN = {
    "no colon": b"GET /stats HTTP/1.1\r\nHost: x\r\nX-API-Key %s\r\n\r\n",
    "no colon after Authorization": b"GET /stats HTTP/1.1\r\nHost: x\r\nAuthorization Bearer %s\r\n\r\n",
    "control character": b"GET /stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\x01%s\r\n\r\n",
    "null": b"GET /stats HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\0\r\n\r\n",
    "folded": b"GET /stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n %s\r\n\r\n",
    "folded at once": b"GET /stats HTTP/1.1\r\n %s\r\nHost: x\r\n\r\n",
    "blanks in the name": b"GET /stats HTTP/1.1\r\nHost: x\r\nX API Key: %s\r\n\r\n",
    "the key as the name": b"GET /stats HTTP/1.1\r\nHost: x\r\n(%s): x\r\n\r\n",
    "the key as the name, a blank before the colon": b"GET /stats HTTP/1.1\r\nHost: x\r\n%s : x\r\n\r\n",
    "four words in the request line": b"GET /stats?key=%s HTTP/1.1 x\r\nHost: x\r\n\r\n",
    "no version": b"GET /stats?key=%s\r\nHost: x\r\n\r\n",
    "the key as the method": b"(%s) /stats HTTP/1.1\r\nHost: x\r\n\r\n",
    "the key as the version": b"GET /stats %s/1.1\r\nHost: x\r\n\r\n",
    "the key as the length": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n",
    "the key as the coding": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n",
    "the key as the expectation": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: %s\r\n\r\n",
    "the key as a chunk's length": (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: image/png\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%s\r\nx\r\n0\r\n\r\n"
    ),
    "no HTTP": b"%s\r\n\r\n",
}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_key_in_a_broken_request_is_neither_logged_nor_sent_back(
    log_format: str, redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, API_KEYS=f"alice:{KEY}", LOG_LEVEL="debug", LOG_FORMAT=log_format)
    web = system.web(wait=False)
    eventually(lambda: system.is_live(system.url), 60, what="/livez")
    host, port = str(urlsplit(system.url).hostname), int(urlsplit(system.url).port or 0)
    for name, broken in BROKEN.items():
        with socket.create_connection((host, port), timeout=20) as client:
            client.sendall(broken.replace(b"%s", KEY.encode()))
            answer = b"".join(iter(lambda client=client: client.recv(65536), b""))  # type: ignore[misc]
        assert re.match(rb"HTTP/1.1 [45]\d\d ", answer), name
        assert KEY.encode() not in answer, name
    # Each is in the log by then: one line comes after the other.
    requests.get(f"{system.url}/nowhere", timeout=20)
    eventually(lambda: "/nowhere" in web.output or "unauthorized" in web.output)
    assert "nvalid" in web.output
    assert KEY not in web.output
