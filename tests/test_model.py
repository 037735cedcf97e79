"""The model: null, somebody's own, or an application of Keras; what does not fit together is said before it serves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import OpenerDirector

import numpy as np
import pytest

from imagequeue import kerasmodel
from imagequeue import model as models
from imagequeue.client import Client
from imagequeue.errors import ConfigurationError, WeightsMissing
from imagequeue.kerashome import RESNET50_ADDRESS, RESNET50_FILE
from imagequeue.model import Model, null_class, warm_sizes
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import Script, System

SIZE = (48, 32)
LABELS = ("cat", "dog", "Zebra crossing")


def load(name: str | Path, **options: object) -> Model:
    given: dict[str, object] = {
        "weights": "imagenet",
        "labels": "imagenet",
        "size": SIZE,
        "preprocessing": "auto",
        "threads": 1,
        "runtime": "tensorflow",
    }
    return models.load(str(name), **(given | options))  # type: ignore[arg-type]


# The null model.


def test_the_null_model_tells_images_apart_by_their_pixels() -> None:
    model = load("null", size=(2, 2))
    images = [bytes([n]) * 12 for n in range(5)]
    answers = model.classify(model.batch_of(images), [1] * 5)
    assert [answer[0].label for answer in answers] == [f"null_{null_class(image)}" for image in images]
    assert all(answer[0].probability == 1.0 for answer in answers)
    assert model.pixel_bytes == 12


def model_of(probabilities: list[float], sizes: list[int] | None = None) -> Model:
    """A model that gives these probabilities for every image, and notes how many it was given at once."""

    def predict(pixels):  # type: ignore[no-untyped-def]
        if sizes is not None:
            sizes.append(len(pixels))
        return np.tile(np.array(probabilities, np.float32), (len(pixels), 1))

    labels = tuple(f"label_{n}" for n in range(len(probabilities)))
    return replace(load("null", size=(1, 1)), labels=labels, predict=predict)


def test_the_best_come_first_as_many_as_each_image_asks_for() -> None:
    model = model_of([0.1, 0.5, 0.05, 0.3, 0.05])
    pixels = model.batch_of([b"123"] * 3)
    answers = model.classify(pixels, [1, 3, 1000])
    assert [[p.index for p in answer[:3]] for answer in answers] == [[1], [1, 3, 0], [1, 3, 0]]
    assert len(answers[2]) == 5, "no more than there are labels"
    assert answers[0][0].label == "label_1"
    assert answers[0][0].probability == pytest.approx(0.5)


def test_a_batch_is_cut_into_sizes_that_are_warm() -> None:
    sizes: list[int] = []
    model = model_of([1.0], sizes)
    model.classify(model.batch_of([b"123"] * 13), [1] * 13)
    assert sizes == [8, 4, 1]
    sizes.clear()
    replace(model, has_lanes=True).classify(model.batch_of([b"123"] * 13), [1] * 13)
    assert sizes == [13], "the lanes are given parts of it"
    assert [warm_sizes(n) for n in (0, 1, 2, 7, 32)] == [[], [1], [2], [4, 2, 1], [32]]


# Somebody's own model.


@pytest.fixture(scope="module")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.keras` file that answers cat, dog or zebra crossing for a red, a green and a blue image."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    model = keras.Sequential(
        [
            keras.Input((SIZE[1], SIZE[0], 3)),
            keras.layers.Rescaling(1 / 25.5),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax", kernel_initializer="identity"),
        ]
    )
    file = tmp_path_factory.mktemp("model") / "three-colours.keras"
    model.save(file)
    return file


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "labels.txt"
    file.write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow sizes its pools once in a process, which these tests share."""
    monkeypatch.setattr("imagequeue.runtimes.tensorflow.prepare", lambda threads, precision: None)


def colour(red: int, green: int, blue: int) -> bytes:
    return bytes((red, green, blue)) * (SIZE[0] * SIZE[1])


@pytest.mark.usefixtures("prepared")
def test_an_own_model_answers_with_its_own_labels(own_model: Path, labels: Path) -> None:
    model = load(own_model, labels=labels)
    pixels = model.batch_of([colour(255, 0, 0), colour(0, 255, 0), colour(0, 0, 255)])
    assert [answer[0].label for answer in model.classify(pixels, [1] * 3)] == list(LABELS)
    assert (model.name, model.weights, model.size) == ("three-colours", "three-colours.keras", SIZE)


@pytest.mark.usefixtures("prepared")
def test_an_own_model_gets_an_applications_preprocessing_where_that_is_named(own_model: Path, labels: Path) -> None:
    pixels = np.frombuffer(colour(255, 200, 0), np.uint8).reshape(1, SIZE[1], SIZE[0], 3)
    plain = load(own_model, labels=labels, preprocessing="none").predict(pixels)
    assert np.array_equal(load(own_model, labels=labels).predict(pixels), plain), "auto is none for a file"
    # Turns RGB to BGR and takes the mean off, so that red becomes the last channel.
    as_resnet = load(own_model, labels=labels, preprocessing="resnet50").predict(pixels)
    assert (plain.argmax(), as_resnet.argmax()) == (0, 2)


@pytest.mark.usefixtures("prepared")
def test_labels_saved_with_a_byte_order_mark_are_the_same(own_model: Path, labels: Path) -> None:
    labels.write_text("\n".join(LABELS), encoding="utf-8-sig")
    assert load(own_model, labels=labels).labels == LABELS


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (32, 48)}, "IMAGE_SIZE: .*Set IMAGE_SIZE=48x32"),
        ({"labels": "imagenet"}, "MODEL_LABELS: the model has 3 outputs and ImageNet 1000"),
        ({"labels": "/nonexistent/labels.txt"}, "MODEL_LABELS: /nonexistent/labels.txt cannot be read"),
        ({"labels": __file__}, r"MODEL_LABELS: .* has \d+ lines, the model 3 outputs"),
        ({"preprocessing": "nonsense"}, "'nonsense' is no application"),
    ],
)
def test_what_does_not_fit_the_model_is_said_by_the_settings_name(
    own_model: Path, labels: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(own_model, **({"labels": labels} | options))


@pytest.mark.usefixtures("prepared")
def test_a_model_file_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"MODEL: there is no file .*none\.keras"):
        load(tmp_path / "none.keras")
    (tmp_path / "broken.keras").write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match=r"MODEL: Keras cannot load .*broken\.keras"):
        load(tmp_path / "broken.keras")


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("channels", [1, 4])
def test_a_model_that_takes_no_rgb_is_refused(tmp_path: Path, channels: int) -> None:
    import keras

    layers = [keras.Input((*SIZE[::-1], channels)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "grey.keras")
    with pytest.raises(ConfigurationError, match=r"MODEL: .*; one RGB image"):
        load(tmp_path / "grey.keras")


@pytest.mark.usefixtures("prepared")
def test_a_model_that_gives_no_row_of_probabilities_is_refused(tmp_path: Path) -> None:
    import keras

    keras.Sequential([keras.Input((*SIZE[::-1], 3)), keras.layers.Conv2D(2, 1)]).save(tmp_path / "map.keras")
    with pytest.raises(ConfigurationError, match=r"MODEL: .* gives \(None, 32, 48, 2\)"):
        load(tmp_path / "map.keras")


@pytest.mark.usefixtures("prepared")
def test_a_model_file_that_holds_code_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    import keras

    ran = tmp_path / "ran"
    code = keras.layers.Lambda(lambda pixels, file=str(ran): [open(file, "w").close(), pixels][1], output_shape=(4,))
    keras.Sequential([keras.Input((4,)), code]).save(tmp_path / "code.keras")
    ran.unlink(missing_ok=True)
    with pytest.raises(ConfigurationError, match=r"MODEL: Keras cannot load .*code\.keras.*arbitrary code execution"):
        load(tmp_path / "code.keras")
    assert not ran.exists()


# Applications of Keras.


@pytest.mark.usefixtures("prepared")
def test_a_name_that_is_no_application_is_answered_with_those_that_are() -> None:
    with pytest.raises(
        ConfigurationError, match=r"MODEL: 'resnet5000' is no application.*efficientnet-lite0.*resnet50"
    ):
        load("resnet5000")


@pytest.mark.usefixtures("prepared")
def test_random_weights_are_called_so_and_have_imagenets_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    model = load("Mobile_Net", weights="random", size=(224, 224))
    assert model.weights == "random"
    assert (len(model.labels), model.labels[281], model.labels[483]) == (1000, "tabby", "castle")


@pytest.mark.usefixtures("prepared")
def test_a_file_of_weights_that_is_missing_or_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"MODEL_WEIGHTS: there is no file .*none\.h5"):
        load("mobilenet", weights=str(tmp_path / "none.h5"))
    (tmp_path / "broken.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ConfigurationError, match=r"MODEL_WEIGHTS: .* does not fit mobilenet") as raised:
        load("mobilenet", weights=str(tmp_path / "broken.weights.h5"))
    assert not isinstance(raised.value, WeightsMissing)


@pytest.mark.parametrize(("name", "file"), [("resnet50", RESNET50_FILE), ("mobilenet", "mobilenet_1_0_224_tf.h5")])
def test_a_download_that_fails_becomes_advice_with_the_file_that_keras_asks_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, file: str
) -> None:
    asked: list[str] = []

    def refuse(opener: object, address: str, *more: object) -> None:
        asked.append(address)
        raise URLError("refused")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(OpenerDirector, "open", refuse)
    with pytest.raises(WeightsMissing) as raised:
        kerasmodel.fetch(name, "imagenet")
    assert str(raised.value).startswith(f"the ImageNet weights of {name} cannot be had: ")
    assert f"\n  {file}\n" in str(raised.value)
    if name == "resnet50":
        assert asked == [RESNET50_ADDRESS], "`make serve` asks there first"


# Through the scripts.


def test_without_weights_the_server_ends_with_2_and_names_the_file_and_the_ways_out(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    # Through a proxy that is not there, no machine has internet.
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere)
    script = Script(
        "run_model_server.py", log=tmp_path / "log", KERAS_HOME=tmp_path / "keras", RUNTIME="tensorflow", **proxies
    )
    assert script.wait(100) == 2
    assert script.lines("weights_missing")
    for words in (
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5\n",
        f"into {tmp_path / 'keras' / 'models'}",
        "MODEL=efficientnet-lite0",
        "MODEL_WEIGHTS=random",
    ):
        assert words in script.output, script.output
    assert "Traceback" not in script.output


def test_an_own_model_is_served_from_file_to_answer(
    own_model: Path, labels: Path, redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    from PIL import Image

    from tests.support.pictures import encode

    system = make_system(
        redis_server,
        MODEL=own_model,
        MODEL_LABELS=labels,
        IMAGE_SIZE=f"{SIZE[0]}x{SIZE[1]}",
        MAX_BATCH_SIZE=2,
        RUNTIME="tensorflow",
        DRAIN_SECONDS=0,
    ).start()
    with Client(system.url) as client:
        for name, label in zip(("red", "lime", "blue"), LABELS, strict=True):
            answer = client.predict(encode(Image.new("RGB", (300, 200), name)), top=2)
            assert (answer.predictions[0].label, answer.model) == (label, "three-colours")
            assert len(answer.predictions) == 2
        assert sum(p.probability for p in client.predict(picture(1)).predictions) == pytest.approx(1, abs=1e-5)


def test_a_lock_that_another_user_has_made_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, shared = tmp_path / "keras", tmp_path / "shared"
    home.mkdir()
    shared.mkdir()
    os.mkfifo(home / "imagequeue.lock")
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    lock = kerasmodel._lock_file()
    assert lock is not None
    assert Path(f"/proc/self/fd/{lock}").resolve().parent == shared
    os.close(lock)
