"""Odd, broken and malicious files: each is an image or gets the right error, and none takes much memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from imagequeue import images
from imagequeue.errors import BadImage, TooLarge
from tests.support import hostile
from tests.support.hostile import Hostile
from tests.support.system import ROOT

SIZE = (32, 24)
MAX_PIXELS = 20_000_000

MEASURE = """
import sys
from imagequeue import images
from imagequeue.errors import ClientError

def peak_kb():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

def decode(name):
    with open(name, "rb") as file:
        upload = file.read()
    try:
        images.decode(upload, size=(224, 224), max_bytes=10 * 2**20, max_pixels=50_000_000)
    except ClientError:
        pass

decode(sys.argv[1])
before = peak_kb()
for name in sys.argv[2:]:
    decode(name)
    print((peak_kb() - before) // 1024, name)
"""


def verdict(file: bytes) -> str:
    try:
        pixels = images.decode(file, size=SIZE, max_bytes=10 * 2**20, max_pixels=MAX_PIXELS)
    except BadImage:
        return "bad"
    except TooLarge:
        return "large"
    assert len(pixels) == SIZE[0] * SIZE[1] * 3
    return "pixels"


@pytest.mark.parametrize("make", hostile.KINDS, ids=lambda make: make.__name__)
def test_each_file_gives_pixels_or_the_right_error(make: Callable[[], Iterable[Hostile]]) -> None:
    cases = list(make())
    assert cases
    for case in cases:
        wanted = {"pixels", "bad"} if case.verdict == "any" else {case.verdict}
        assert verdict(case.file) in wanted, case.name


def test_a_png_that_is_interlaced_gives_its_colour() -> None:
    pixels = images.decode(hostile.interlaced_png(), size=SIZE, max_bytes=2**20, max_pixels=MAX_PIXELS)
    assert pixels == b"\xc8\x64\x32" * (SIZE[0] * SIZE[1])


def refusal(file: bytes) -> str:
    try:
        images.decode(file, size=SIZE, max_bytes=10 * 2**20, max_pixels=MAX_PIXELS)
    except (BadImage, TooLarge) as error:
        return error.message
    return ""


def test_a_refusal_is_one_short_sentence_and_decoders_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for make in (hostile.claims, hostile.lies, hostile.truncated):
        for case in make():
            message = refusal(case.file)
            assert len(message) < 200, case.name
            assert "\n" not in message, case.name
            assert "0x" not in message, (case.name, message)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_no_file_of_a_few_kilobytes_takes_memory(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    plain.write_bytes(hostile.interlaced_png())
    names = []
    for number, case in enumerate([*hostile.claims(), *hostile.bombs()]):
        # That one is as large as the limit allows; it is decoded, and takes what its pixels take.
        if case.name != hostile.TALL:
            names.append(tmp_path / f"{number} {case.name}.bin")
            names[-1].write_bytes(case.file)
    command = [sys.executable, "-c", MEASURE, plain, *names]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == len(names)
    assert int(told[-1].split()[0]) < 20, told
