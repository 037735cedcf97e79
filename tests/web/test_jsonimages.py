"""JSON with images in it: what is a document, what is base64, and what reading them needs."""

from __future__ import annotations

import base64
import subprocess
import sys
import tracemalloc
from contextlib import suppress

import pytest

from imagequeue.errors import BadRequest, TooLarge
from imagequeue.web.jsonimages import MAX_IMAGES, from_base64, read_images, read_json, shown
from tests.support.system import ROOT

# Of each kind of digit, and padded.
IMAGE = b"\xff\xff\xff\xfb\xef\xbe\x89PNG"
IMAGE64 = base64.b64encode(IMAGE).decode()
URL_SAFE = base64.urlsafe_b64encode(IMAGE).decode()


@pytest.mark.parametrize("module", ["jsonimages", "instances", "v2_tensors"])
def test_a_process_reads_json_without_a_web_framework(module: str) -> None:
    code = f"import sys, imagequeue.web.{module}; print(sorted({{'flask', 'werkzeug', 'redis'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_json(body, dict)


@pytest.mark.parametrize(
    "text",
    [
        IMAGE64,
        "data:image/png;base64," + IMAGE64,
        "DATA:image/svg+xml;charset=utf-8;BASE64," + IMAGE64,
        IMAGE64[:10] + "\n" + IMAGE64[10:] + "\r\n",
        f"  {IMAGE64} ",
        "\t\v\f".join(IMAGE64),
        IMAGE64.rstrip("="),
        URL_SAFE,
        URL_SAFE.rstrip("="),
        "data:;base64," + IMAGE64,
        " data:image/png;base64,\n" + IMAGE64,
        'data:image/png;name=a photo.png;charset="utf-8"; x=;BASE64,' + URL_SAFE,
        "data:" + "x" * 900 + ";base64," + IMAGE64,
        "data:;base64," + IMAGE64.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D") + "%0A",
    ],
)
def test_base64_is_taken_as_people_have_it(text: str) -> None:
    assert from_base64(text, "image") == IMAGE


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        ["a"],
        "a",
        IMAGE64[:-2] + "a" * 3,
        IMAGE64 + "!",
        IMAGE64 + "===",
        "=" + IMAGE64,
        "A=AA",
        "A===",
        "AA=A",
        "ä",
        "data:image/png,abc",
        "data:;base64",
        "data:base64,AAAA,",
        "data:" + "x" * 1024 + ";base64," + IMAGE64,
        "%2B%2B",
        "\ud800",
    ],
)
def test_what_is_no_base64_is_said_with_its_place(text: object) -> None:
    with pytest.raises(BadRequest, match=r"`images\[3\]`"):
        from_base64(text, "images[3]")


def test_the_picture_of_these_tests_has_what_they_are_about() -> None:
    assert {"+", "/", "="} <= set(IMAGE64)


@pytest.mark.parametrize(
    "text",
    [
        " " * 4_600_000,
        "=" * 4_600_000,
        "A=" * 2_300_000,
        "data:" + "a" * 4_600_000,
        "data:" + ";a=" * 1_500_000 + ";base64,",
        "data:;base64," + "%2" * 2_300_000,
        "data:;base64," + "%3D" * 1_500_000,
    ],
    ids=["blanks", "padding", "pairs", "type", "parameters", "escapes", "escaped padding"],
)
def test_hostile_text_takes_three_times_its_memory_at_most(text: str) -> None:
    tracemalloc.start()
    try:
        with suppress(BadRequest):
            assert from_base64(text, "image") == b""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(text) + 10_000


def test_more_images_than_are_taken_are_refused_before_one_is_decoded() -> None:
    with pytest.raises(TooLarge, match="129 images; at most 128"):
        read_images({"images": ["no base64!"] * (MAX_IMAGES + 1)})


def test_a_message_shows_the_beginning_of_a_name_and_nothing_of_what_is_nested() -> None:
    assert shown("x" * 5000) == repr("x" * 100)
    assert shown("a\nb") == r"'a\nb'"
    assert (shown([1] * 5000), shown({"a": 1}), shown(None), shown(7)) == ("a list", "an object", "None", "7")
