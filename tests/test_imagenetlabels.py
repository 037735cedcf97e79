"""ImageNet's labels: Keras's own, without its file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

from imagequeue import imagenetlabels
from imagequeue.errors import ConfigurationError
from tests.support.system import SHARED

KERAS_FILE = SHARED / "keras" / "models" / "imagenet_class_index.json"
# Of Keras's 1,000 labels, one a line.
KERAS_SHA256 = "00431496b02b35ec4cfbd126430c7a150ff2d07ddc3d068de901f8e0aecdbe23"


@pytest.mark.skipif(not KERAS_FILE.is_file(), reason="no labels of Keras in shared/ beside the project")
def test_all_thousand_are_those_of_keras() -> None:
    of_keras = json.loads(KERAS_FILE.read_text())
    assert imagenetlabels.read() == tuple(of_keras[str(number)][1] for number in range(1000))


def test_they_have_the_digest_of_those_of_keras() -> None:
    assert hashlib.sha256("\n".join(imagenetlabels.read()).encode()).hexdigest() == KERAS_SHA256


def test_two_of_them_are_there_twice_and_some_are_known() -> None:
    labels = imagenetlabels.read()
    assert len(labels) == 1000
    assert {label for label, count in Counter(labels).items() if count > 1} == {"crane", "maillot"}
    known = {0: "tench", 162: "beagle", 285: "Egyptian_cat", 483: "castle", 920: "traffic_light", 999: "toilet_tissue"}
    assert {number: labels[number] for number in known} == known
    assert not [label for label in labels if " " in label or "," in label]


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", none)
    with pytest.raises(ConfigurationError, match=r"is not installed.\nInstall it: .* -m pip install -r"):
        imagenetlabels.read()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"0": 5}'])
def test_a_package_of_another_form_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (tmp_path / "names.json").write_text(content)

    class Distribution:
        def locate_file(self, path: str) -> Path:
            return tmp_path / "names.json"

    monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
    with pytest.raises(ConfigurationError, match="has another form"):
        imagenetlabels.read()
