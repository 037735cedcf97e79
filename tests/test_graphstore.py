"""Converted models on the disk: found while nothing they were made from has changed, and made anew when not whole."""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagequeue import graphstore
from imagequeue.client import Client
from imagequeue.graphstore import MOST_KEPT, GraphStore, Kept, key_of, made_from
from imagequeue.runtimes import Plan
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System

PLAN = Plan((4, 3), threads=1, precision="float32")
A, B = "a" * 32, "b" * 32
NEW = Kept("some.h5", ("cat", "dog"))


def write(file: Path) -> None:
    file.write_text("a graph")
    file.with_suffix(".bin").write_bytes(b"its weights")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of; whether lesser events are heard depends on the tests before."""
    return [record.msg for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    return GraphStore(tmp_path / "graphs", "graph.xml")


def test_what_was_kept_is_found_with_its_labels_and_only_its_user_may_look(store: GraphStore, tmp_path: Path) -> None:
    assert store.find(A) is None
    store.keep(A, NEW, write)
    assert store.find(A) == NEW
    assert store.graph(A).read_text() == "a graph"
    assert stat.S_IMODE((tmp_path / "graphs").stat().st_mode) == 0o700
    assert store.find(B) is None


@pytest.mark.parametrize("file", ["graph.xml", "graph.bin", "facts.json"])
@pytest.mark.parametrize("harm", ["shortened", "changed", "removed"])
def test_an_entry_that_is_not_whole_is_none_and_can_be_kept_again(
    store: GraphStore, tmp_path: Path, file: str, harm: str
) -> None:
    store.keep(A, NEW, write)
    harmed = tmp_path / "graphs" / A / file
    if harm == "removed":
        harmed.unlink()
    else:
        harmed.write_bytes(harmed.read_bytes()[:-3] + (b"" if harm == "shortened" else b"???"))
    assert store.find(A) is None
    store.keep(A, NEW, write)
    assert store.find(A) is not None


def test_a_disk_that_is_full_in_the_midst_costs_a_warning_and_leaves_nothing(
    store: GraphStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write_half(file: Path) -> None:
        file.write_text("half a gr")
        raise RuntimeError("cannot write: No space left on device")

    store.keep(A, NEW, write_half)
    assert [record.msg for record in caplog.records] == ["graph_not_kept"]
    assert list((tmp_path / "graphs").iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = GraphStore(tmp_path / "file" / "graphs", "graph.xml")
    store.keep(A, NEW, write)
    assert store.find(A) is None
    assert "graph_not_kept" in [record.msg for record in caplog.records]


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can try what another user may")
def test_a_folder_that_may_not_be_searched_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    store = GraphStore(tmp_path / "home" / "graphs", "graph.xml")
    store.keep(A, NEW, write)
    os.seteuid(65534)
    try:
        assert store.find(A) is None
        store.keep(A, NEW, write)
    finally:
        os.seteuid(0)
    assert "graph_not_kept" in [record.msg for record in caplog.records]
    assert store.find(A) == NEW


@pytest.mark.skipif(os.name != "posix", reason="elsewhere nobody says who may write")
@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_folder_in_which_others_may_write_is_neither_read_nor_written(
    store: GraphStore, tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    store.keep(A, NEW, write)
    (tmp_path / "graphs").chmod(mode)
    assert store.find(A) is None
    store.keep(B, NEW, write)
    assert [one.name for one in (tmp_path / "graphs").iterdir()] == [A]
    assert warnings(caplog) == ["model_cache_not_trusted"] * 2


def test_what_a_worker_that_was_killed_has_begun_goes_when_no_other_can_be_at_it_and_nothing_else(
    store: GraphStore, tmp_path: Path
) -> None:
    old, begun = graphstore.ABANDONED_AFTER + 10, graphstore._UNFINISHED
    for name, age in ((f"{begun}killed", old), (f"{begun}at-it", 10.0), ("new-photographs", old)):
        (tmp_path / "graphs" / name).mkdir(parents=True)
        os.utime(tmp_path / "graphs" / name, (time.time() - age,) * 2)
    (tmp_path / "graphs").chmod(0o700)
    store.keep(A, NEW, write)
    assert {one.name for one in (tmp_path / "graphs").iterdir()} == {A, f"{begun}at-it", "new-photographs"}


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give an entry to another user")
def test_an_entry_of_somebody_else_is_not_taken_though_the_folder_is_ones_own(
    store: GraphStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.keep(A, NEW, write)
    os.chown(tmp_path / "graphs" / A, 65534, 65534)
    assert store.find(A) is None
    assert warnings(caplog) == ["model_cache_not_trusted"]


def test_who_comes_second_keeps_nothing_and_says_nothing(
    store: GraphStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.keep(A, NEW, write)
    store.keep(A, NEW, write)
    assert [one.name for one in (tmp_path / "graphs").iterdir()] == [A]
    assert "graph_not_kept" not in [record.msg for record in caplog.records]


def test_only_the_entries_used_last_stay(store: GraphStore, tmp_path: Path) -> None:
    keys = [f"{number:032x}" for number in range(MOST_KEPT)]
    for age, key in enumerate(keys):
        store.keep(key, NEW, write)
        os.utime(tmp_path / "graphs" / key, (age, age))
    assert store.find(keys[0]) is not None, "used now"
    store.keep(A, NEW, write)
    assert {one.name for one in (tmp_path / "graphs").iterdir()} == {keys[0], *keys[2:], A}


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "keras" / "models").mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def key(name: str = "resnet50", plan: Plan = PLAN, **other: str) -> str:
    given = {"weights": "imagenet", "labels": "imagenet", "preprocessing": "auto"} | other
    return key_of(made_from(name, plan=plan, **given))


@pytest.mark.usefixtures("keras_home")
def test_the_key_changes_with_all_that_a_graph_is_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, labels, own = tmp_path / "w.h5", tmp_path / "labels.txt", tmp_path / "own.keras"
    for file in (weights, labels, own):
        file.write_bytes(b"one")
    keys: list[Callable[[], str]] = [
        lambda: key(),
        lambda: key("mobilenet"),
        lambda: key(weights=str(weights)),
        lambda: key(labels=str(labels)),
        lambda: key(str(own)),
        lambda: key(preprocessing="none"),
        lambda: key(plan=Plan((8, 8), 1, "float32")),
        lambda: key(plan=Plan((4, 3), 1, "bfloat16")),
    ]
    before = [one() for one in keys]
    assert len(set(before)) == len(keys)
    assert [one() for one in keys] == before, "and is the same while nothing changes"
    assert key(plan=Plan((4, 3), 7, "float32")) == key(), "threads are chosen when it is compiled"
    for file in (weights, labels, own):
        file.write_bytes(b"two")
    assert [was == is_now() for was, is_now in zip(before, keys, strict=True)] == [
        *(True, True, False, False, False, True, True, True)
    ]
    monkeypatch.setattr(graphstore, "_version", lambda package: "another")
    assert not {one() for one in keys} & set(before)


def test_the_key_changes_with_what_keras_has_downloaded_its_settings_and_the_code_that_converts(
    keras_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key()]
    for file in (keras_home / "models" / "weights.h5", keras_home / "keras.json"):
        file.write_bytes(b"new")
        keys.append(key())
    (tmp_path / "code.py").write_text("another way")
    monkeypatch.setattr(graphstore, "_sources", lambda: [tmp_path / "code.py"])
    keys.append(key())
    assert len(set(keys)) == 4


@pytest.mark.usefixtures("keras_home")
def test_the_key_of_int8_changes_with_the_pictures_it_is_calibrated_on(tmp_path: Path) -> None:
    def int8() -> str:
        return key(plan=Plan((4, 3), 1, "int8", str(tmp_path)))

    before = int8()
    (tmp_path / "new.jpg").write_bytes(b"a picture")
    assert int8() != before


@pytest.mark.usefixtures("keras_home")
def test_random_weights_and_files_that_are_missing_have_no_key(tmp_path: Path) -> None:
    assert key(weights="random") == ""
    assert key(weights=str(tmp_path / "none.h5")) == ""
    assert key(labels=str(tmp_path / "none.txt")) == ""
    assert key(str(tmp_path / "none.keras")) == ""


def test_an_own_model_with_its_own_labels_needs_nothing_of_keras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    for name in ("own.keras", "labels.txt"):
        (tmp_path / name).write_text("something")
    assert key(str(tmp_path / "own.keras"), labels=str(tmp_path / "labels.txt"))
    assert key(str(tmp_path / "own.keras")), "ImageNet's labels come from a package"


def test_the_key_of_a_packaged_model_changes_with_its_file_and_needs_nothing_of_keras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    assert (before := key("efficientnet-lite0"))
    assert key("efficientnet-lite0", weights="random") == ""
    file = tmp_path / "efficientnet-lite0-57934424.pth"
    monkeypatch.setattr("imagequeue.efficientnetlite.weights_file", lambda: file)
    assert key("efficientnet-lite0") == "", "building the model will say what is missing"
    file.write_bytes(b"another training")
    assert key("efficientnet-lite0") not in ("", before)


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has loaded is seen in /proc")
@pytest.mark.slow
def test_the_next_worker_serves_the_same_answers_without_tensorflow(
    redis_server: RedisServer, make_system: Callable[..., System], tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    size = (24, 16)
    layers = [keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, "softmax")]
    keras.Sequential([keras.Input((*size[::-1], 3)), *layers]).save(tmp_path / "own.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    settings = {
        "MODEL": tmp_path / "own.keras",
        "MODEL_LABELS": tmp_path / "labels.txt",
        "MODEL_CACHE": tmp_path / "graphs",
        "IMAGE_SIZE": f"{size[0]}x{size[1]}",
        "MAX_BATCH_SIZE": 2,
        "RUNTIME": "auto",
        "DRAIN_SECONDS": 0,
    }
    if graphstore.runtimes.choose("auto", "float32") != "openvino":
        pytest.skip("this machine has a GPU, and TensorFlow keeps no graph")
    system = make_system(redis_server, **settings)
    first = system.worker()
    system.web()
    with Client(system.url) as client:
        answer = client.predict(picture(1))
        assert "libtensorflow" in maps(first.pid)
        if not first.lines("graph_kept"):
            # By its own account: what the graph is made from changed under the first start of all.
            assert first.lines("graph_not_kept"), first.output
            first.stop()
            first = system.worker()
        assert first.lines("graph_kept"), first.output
        first.stop()
        second = system.worker()
        assert client.predict(picture(1)).predictions == answer.predictions
        assert second.lines("graph_found")
        assert "libtensorflow" not in maps(second.pid)
        # Whole, and yet nothing that OpenVINO can read.
        (entry,) = (tmp_path / "graphs").iterdir()
        GraphStore(tmp_path / "graphs", "graph.xml").drop(entry.name)
        GraphStore(tmp_path / "graphs", "graph.xml").keep(entry.name, Kept("own.keras", ("cat", "dog")), write)
        second.stop()
        third = system.worker()
        assert client.predict(picture(1)).predictions == answer.predictions
    assert third.lines("kept_graph_broken")
    assert third.lines("graph_kept")


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()
