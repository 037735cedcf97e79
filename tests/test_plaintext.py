"""Text of unknown origin: what a terminal would act on is written out, and what is long is cut."""

from __future__ import annotations

import json

import pytest

from imagequeue.plaintext import escaped, one_word, quoted, shortened, shortened_middle

HOSTILE = "\x1b[2J\x1b]0;title\x07\r\n\x08\x7f\x9b31m\u202egpj.exe\u2066\u200b\ufeff\ud800"


def test_nothing_that_a_terminal_acts_on_is_left() -> None:
    for shown in (escaped(HOSTILE), one_word(HOSTILE), quoted(HOSTILE)):
        assert shown.isprintable(), shown
        assert shown.encode("ascii")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("castle", "castle"),
        ("Käsespätzle, 東京 🙂", "Käsespätzle, 東京 🙂"),
        ("a\x1b[0m", r"a\x1b[0m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\U000e0041b", r"a\U000e0041b"),
        (7, "7"),
    ],
)
def test_what_people_can_read_stays_as_it_is(text: object, written: str) -> None:
    assert escaped(text) == written


def test_a_word_of_a_line_cannot_become_two() -> None:
    assert one_word('did job=1 "x"') == r"did\x20job\x3d1\x20\x22x\x22"
    assert one_word("") == "-"


def test_quoted_text_is_json_with_the_same_content() -> None:
    assert json.loads(quoted({"a": HOSTILE})) == {"a": HOSTILE}


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    assert shortened("x" * 500, 500) == "x" * 500
    assert shortened("x" * 32_000, 500) == "x" * 500 + "…+31500"
    assert shortened(["x" * 600], 500) == str(["x" * 600])[:500] + "…+104"
    assert shortened(10**4000, 500) == "1" + "0" * 499 + "…+3501"


@pytest.mark.parametrize("value", [None, True, 0.5, 7, [1], "short", b"bytes"])
def test_what_is_short_stays_the_value_that_it_is(value: object) -> None:
    assert shortened(value, 500) is value


def test_of_a_long_traceback_the_end_is_kept() -> None:
    text = "Traceback" + "x" * 50_000 + "ValueError: the reason"
    cut = shortened_middle(text, 8000)
    assert cut.startswith("Traceback")
    assert cut.endswith("ValueError: the reason")
    assert len(cut) < 8020
    assert shortened_middle("short", 8000) == "short"
