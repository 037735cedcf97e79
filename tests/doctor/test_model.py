"""Weights and labels: there, missing, broken off, to be downloaded or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagequeue.doctor.check import Check
from imagequeue.doctor.model import RESNET50_BYTES, check_labels, check_weights
from imagequeue.errors import ConfigurationError, WeightsMissing
from imagequeue.kerashome import RESNET50_FILE

INSTALL = "python -m pip install -r requirements.txt"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pth"
    file.write_bytes(bytes(2_000_000))
    return file


def look(package: Path, model: str = "resnet50", weights: str = "imagenet", **changed: Any) -> Check:
    given: dict[str, Any] = {
        "is_named": False,
        "downloads": package.parent / "models",
        "why_not": lambda address: "",
        "packaged": lambda: package,
        "is_packaged": lambda name: name == "efficientnet-lite0",
        "install": INSTALL,
    }
    return check_weights(model, weights, **{**given, **changed})


def unreachable(address: str) -> str:
    return "Name or service not known"


def no_package() -> Path:
    raise WeightsMissing("The package is not installed.\nInstall it.")


def keep(package: Path, size: int) -> Path:
    file = package.parent / "models" / RESNET50_FILE
    file.parent.mkdir()
    with file.open("wb") as opened:
        opened.truncate(size)
    return file


def test_kerass_file_is_found_where_it_is_whole(package: Path) -> None:
    keep(package, RESNET50_BYTES)
    assert look(package, why_not=unreachable, is_named=True).status == "ok"


def test_one_that_is_missing_and_can_be_downloaded_is_a_warning(package: Path) -> None:
    found = look(package)
    assert found.status == "warning"
    assert "is not there; the first start downloads it" in found.found
    assert found.fix.endswith("run_model_server.py --fetch")


def test_one_that_is_broken_off_is_named_with_its_size_and_removed(package: Path) -> None:
    file = keep(package, 1000)
    found = look(package)
    assert found.status == "warning"
    assert f"has 1000 bytes instead of {RESNET50_BYTES}" in found.found
    assert found.fix.startswith(f"rm {file}; ")
    assert look(package, why_not=unreachable).status == "failed"


def test_without_a_network_make_serve_has_another_model_and_a_named_one_fails(package: Path) -> None:
    found = look(package, why_not=unreachable)
    assert found.status == "warning"
    assert "cannot be downloaded (Name or service not known)" in found.found
    assert "serves efficientnet-lite0 instead" in found.found
    found = look(package, why_not=unreachable, is_named=True)
    assert found.status == "failed"
    assert "MODEL=efficientnet-lite0" in found.fix
    assert look(package, why_not=unreachable, packaged=no_package).status == "failed"


def test_the_model_of_the_package_needs_the_package(package: Path) -> None:
    assert look(package, "efficientnet-lite0").found == "efficientnet-lite0, weights in a package (2 MB)"
    found = look(package, "efficientnet-lite0", packaged=no_package)
    assert (found.status, found.found, found.fix) == ("failed", "The package is not installed.", INSTALL)


def test_another_application_is_looked_for_among_the_downloads(package: Path) -> None:
    found = look(package, "MobileNetV2")
    assert found.status == "warning"
    assert found.fix == "MODEL=MobileNetV2 .venv/bin/python run_model_server.py --fetch"
    (package.parent / "models").mkdir()
    (package.parent / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5").touch()
    assert look(package, "MobileNetV2").status == "ok"


def test_random_weights_are_a_warning_and_the_null_model_needs_none(package: Path) -> None:
    assert look(package, weights="random").fix == "unset MODEL_WEIGHTS"
    assert look(package, "null").status == "ok"


def test_a_file_of_ones_own_is_there_and_begins_as_its_kind_does(tmp_path: Path, package: Path) -> None:
    whole, pointer = tmp_path / "mine.keras", tmp_path / "mine.weights.h5"
    whole.write_bytes(b"PK\x03\x04" + bytes(100))
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert look(package, str(whole)).status == "ok"
    found = look(package, weights=str(pointer))
    assert found.status == "failed"
    assert "is not a whole .h5 file" in found.found
    assert "MODEL_WEIGHTS=" in found.fix
    found = look(package, str(tmp_path / "none.keras"))
    assert found.status == "failed"
    assert "No such file or directory" in found.found
    assert "MODEL=" in found.fix


def test_imagenets_labels_come_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_labels("resnet50", "imagenet", install=INSTALL).found == "1000 of ImageNet"

    def missing() -> tuple[str, ...]:
        raise ConfigurationError("MODEL_LABELS: the package is not installed.\nInstall it.")

    monkeypatch.setattr("imagequeue.imagenetlabels.read", missing)
    found = check_labels("resnet50", "imagenet", install=INSTALL)
    assert (found.status, found.fix) == ("failed", INSTALL)
    assert check_labels("null", "imagenet", install=INSTALL).status == "ok"


def test_labels_of_ones_own_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("cat\ndog\n")
    assert check_labels("mine.keras", str(file), install=INSTALL).found.startswith(f"2 in {file}")
    for content in (b"", b"\xff\xfe\xfd"):
        file.write_bytes(content)
        assert check_labels("mine.keras", str(file), install=INSTALL).status == "failed"
    file.unlink()
    found = check_labels("mine.keras", str(file), install=INSTALL)
    assert found.status == "failed"
    assert "MODEL_LABELS=" in found.fix
