"""JSON with images in it: what is a document, what is base64, and what reading them needs."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading

import pytest

from imagequeue.errors import BadRequest
from imagequeue.web.jsonimages import from_base64, read_json
from tests.support.system import ROOT

IMAGE = b"\x89PNG and \xff\x00 more"
IMAGE64 = base64.b64encode(IMAGE).decode()


@pytest.mark.parametrize("module", ["jsonimages", "instances", "v2_tensors"])
def test_a_process_reads_json_without_a_web_framework(module: str) -> None:
    code = f"import sys, imagequeue.web.{module}; print(sorted({{'flask', 'werkzeug', 'redis'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_json(body, dict)


def test_one_body_is_parsed_at_a_time() -> None:
    is_inside, may_leave = threading.Event(), threading.Event()

    def linger(document: dict[str, object]) -> bool:
        is_inside.set()
        return may_leave.wait(20)

    first = threading.Thread(target=read_json, args=(b"{}", linger))
    first.start()
    assert is_inside.wait(20)
    seen = threading.Event()
    second = threading.Thread(target=read_json, args=(b"{}", lambda document: seen.set()))
    second.start()
    assert not seen.wait(0.05)
    may_leave.set()
    assert seen.wait(20)
    first.join()
    second.join()


@pytest.mark.parametrize(
    "text",
    [
        IMAGE64,
        "data:image/png;base64," + IMAGE64,
        "DATA:image/svg+xml;charset=utf-8;BASE64," + IMAGE64,
        IMAGE64[:10] + "\n" + IMAGE64[10:] + "\r\n",
        f"  {IMAGE64} ",
    ],
)
def test_base64_is_taken_as_people_have_it(text: str) -> None:
    assert from_base64(text, "image") == IMAGE


@pytest.mark.parametrize(
    "text", [None, 7, ["a"], "a", IMAGE64[:-1], IMAGE64 + "!", "ä", "data:image/png,abc", "data:;base64", "\ud800"]
)
def test_what_is_no_base64_is_said_with_its_place(text: object) -> None:
    with pytest.raises(BadRequest, match=r"`images\[3\]`"):
        from_base64(text, "images[3]")
