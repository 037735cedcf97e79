"""Which model `make serve` serves: ResNet50 where its weights can be had, else one that needs no download."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

from imagequeue import download
from imagequeue.errors import WeightsMissing
from imagequeue.kerashome import RESNET50_FILE
from scripts import serve
from settings import Settings
from tests.e2e.test_serve import Serve
from tests.support import downloadhosts
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT

pytestmark = pytest.mark.slow

LABELS = {"clock": "wall_clock", "crossword": "crossword_puzzle", "maze": "maze"}
LABELS |= {"traffic_light": "traffic_light", "umbrella": "umbrella"}
Host = Callable[[], AbstractContextManager[int]]


def without_network(port: int, keras_home: Path) -> dict[str, str]:
    """An environment in which all downloads go through a proxy on that port, and no model is named."""
    proxy = f"http://127.0.0.1:{port}"
    # An empty value is how a shell says "not set".
    unset = dict.fromkeys(("MODEL", "MODEL_WEIGHTS", "MODEL_LABELS", "MODEL_PREPROCESSING"), "")
    return unset | {"https_proxy": proxy, "HTTPS_PROXY": proxy, "KERAS_HOME": str(keras_home), "MODEL_CACHE": "none"}


@pytest.fixture
def offline(tmp_path: Path, redis_server: RedisServer) -> Iterator[Serve]:
    with downloadhosts.refusing() as port:
        environment = without_network(port, tmp_path / "keras") | {"MAX_BATCH_SIZE": "1"}
        running = Serve(tmp_path / "serve.log", REDIS_URL=redis_server.url, **environment)
        yield running
        running.end()


def test_without_any_network_the_samples_get_their_labels_and_every_answer_the_models_name(offline: Serve) -> None:
    offline.wait_until_ready()
    url = f"http://127.0.0.1:{offline.port}"
    for name, label in LABELS.items():
        image = (ROOT / "samples" / f"{name}.png").read_bytes()
        answer = requests.post(f"{url}/predict", data=image, headers={"Content-Type": "image/png"}, timeout=30).json()
        assert (answer["predictions"][0]["label"], answer["model"]) == (label, "efficientnet-lite0")
        assert "weights" not in answer, "which would say that they are random"
    (line,) = [line for line in offline.output.splitlines() if "One more worker:" in line]
    assert " MODEL=efficientnet-lite0 " in line
    assert "RANDOM" not in offline.output
    # The other ways to ask, in which the name is a part of the address.
    (worker,) = requests.get(f"{url}/stats", timeout=20).json()["workers"]
    assert worker["model"] == "efficientnet-lite0"
    v1, v2 = f"{url}/v1/models/efficientnet-lite0", f"{url}/v2/models/efficientnet-lite0"
    for address in (v1, f"{v1}/metadata", v2, f"{v2}/ready"):
        assert requests.get(address, timeout=20).status_code == 200, address
    assert requests.get(v2, timeout=20).json()["name"] == "efficientnet-lite0"
    sent = requests.post(f"{v2}/infer", data=image, headers={"Inference-Header-Content-Length": "0"}, timeout=30)
    assert sent.json()["model_name"] == "efficientnet-lite0"
    assert requests.get(f"{url}/v2/models/resnet50", timeout=20).status_code == 404


def choose(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `make serve` decides and says before it starts the worker."""
    program = "import json\nfrom scripts import serve\nprint(json.dumps(serve.chosen_model(serve.load_or_exit())))\n"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (downloadhosts.refusing, "Connection refused"),
        (downloadhosts.silent, "no answer within 5 s"),
        pytest.param(
            downloadhosts.dropping,
            "no answer within 5 s",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses"),
        ),
    ],
)
def test_where_the_weights_cannot_be_downloaded_two_lines_say_why_and_how_to_get_them(
    tmp_path: Path, host: Host, reason: str
) -> None:
    with host() as port:
        chosen = choose(without_network(port, tmp_path / "keras"))
    *said, added = chosen.stdout.splitlines()
    assert json.loads(added) == {"MODEL": "efficientnet-lite0"}
    assert len(said) == 3, "what it looks for, and the two"
    assert f"({reason})" in said[1]
    assert "efficientnet-lite0" in said[1]
    assert f"copy {RESNET50_FILE} into {tmp_path / 'keras' / 'models'}" in said[2]
    assert chosen.stderr == ""
    assert not (tmp_path / "keras").exists(), "Keras was not loaded for it"


def test_resnet50_by_name_is_never_replaced(tmp_path: Path) -> None:
    with downloadhosts.refusing() as port:
        ended = choose(without_network(port, tmp_path / "keras") | {"MODEL": "resnet50"})
    assert ended.returncode == 1
    assert "the lines above say why" in ended.stdout
    for words in (f"  {RESNET50_FILE}\n", "MODEL=efficientnet-lite0", "MODEL_WEIGHTS"):
        assert words in ended.stderr
    assert "Traceback" not in ended.stderr


class Fetch:
    """In place of the process that downloads: ends with this exit code."""

    def __init__(self, code: int) -> None:
        self.code, self.runs = code, 0

    def __call__(self, command: list[str], **more: object) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "--fetch"
        self.runs += 1
        return subprocess.CompletedProcess(command, self.code)


@pytest.fixture
def decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Fetch, dict[str, str]], dict[str, str]]:
    """chosen_model on a machine whose download host answers, with no weights at first."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(download, "why_not", lambda address: "")

    def chosen(fetch: Fetch, given: dict[str, str]) -> dict[str, str]:
        monkeypatch.setattr(serve, "given_by_user", lambda: given)
        monkeypatch.setattr("scripts.serve.subprocess.run", fetch)
        return serve.chosen_model(Settings.load(given, Path("/nonexistent")))

    return chosen


def test_weights_that_can_be_downloaded_are(decide: Callable[..., dict[str, str]]) -> None:
    for given in ({}, {"MODEL": "resnet50"}, {"MODEL": "mobilenet"}):
        fetch = Fetch(0)
        assert decide(fetch, given) == {}
        assert fetch.runs == 1


def test_weights_that_are_there_are_not_asked_for(
    decide: Callable[..., dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / RESNET50_FILE).touch()
    fetch = Fetch(1)
    assert decide(fetch, {}) == {}
    named = [{"MODEL": "null"}, {"MODEL": "own.keras"}, {"MODEL": "EfficientNet-Lite0"}]
    for given in (*named, {"MODEL_WEIGHTS": "random"}, {"MODEL_WEIGHTS": "mine.h5"}):
        assert decide(fetch, given) == {}
    assert fetch.runs == 0
    assert f"weights in {tmp_path / 'models'}" in capsys.readouterr().out


def test_a_download_that_breaks_off_is_no_end_unless_the_model_was_named(
    decide: Callable[..., dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    missing = WeightsMissing.exit_of_fetch
    assert decide(Fetch(missing), {}) == {"MODEL": "efficientnet-lite0"}
    assert "the lines above say why" in capsys.readouterr().out
    for code, given in ((missing, {"MODEL": "resnet50"}), (missing, {"MODEL_PREPROCESSING": "none"}), (2, {})):
        with pytest.raises(SystemExit):
            decide(Fetch(code), given)
