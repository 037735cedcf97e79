"""The one log line: its format, and that nobody forges one."""

from __future__ import annotations

import json
import logging
import re
import warnings
from pathlib import Path

import pytest

import logutil
from tests.support.logs import LINE, Terminal, configure, run


def test_a_line_is_time_server_script_level_action_fields(terminal: Terminal) -> None:
    configure()
    logutil.log("claimed", job="3f2a", batch=8, share=0.5, nothing=None)
    match = LINE.fullmatch(terminal.text.rstrip("\n"))
    assert match, terminal.text
    assert match.groups() == ("INFO", "claimed", " job=3f2a batch=8 share=0.5 nothing=None")


def test_the_time_is_utc_with_milliseconds_cut_not_rounded() -> None:
    record = logging.LogRecord("imagequeue", logging.INFO, "", 0, "a", None, None)
    record.fields = {}
    record.created = 1_767_225_599.9996
    line = logutil.LineFormatter("host-1", "run_test.py").format(record)
    assert line == "2025-12-31T23:59:59.999Z host-1 run_test.py INFO a"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a "quote"', r'"a \"quote\""'),
        ("a=b", '"a=b"'),
        ("a\nb", r'"a\nb"'),
        ("a\r\nb\tc", r'"a\r\nb\tc"'),
        ("a\x1b[31mb", r'"a\u001b[31mb"'),
        ("a\u2028b", r'"a\u2028b"'),
        ("a\x85b", r'"a\u0085b"'),
        ("Ünïcode", "Ünïcode"),
        (Path("/tmp/x.jpg"), "/tmp/x.jpg"),
        (b"bytes", "\"b'bytes'\""),
    ],
)
def test_a_value_is_quoted_where_it_could_be_misread(terminal: Terminal, value: object, written: str) -> None:
    configure()
    logutil.log("seen", value=value)
    assert terminal.text.endswith(f" seen value={written}\n")
    assert len(terminal.text.splitlines()) == 1


def test_nobody_forges_a_line(terminal: Terminal) -> None:
    configure()
    forged = "x\n2026-01-01T00:00:00.000Z host-1 run_test.py ERROR job_failed job=1"
    logutil.log("refused", reason=forged)
    logging.getLogger("other").warning("%s", forged)
    try:
        raise RuntimeError(forged)
    except RuntimeError:
        logging.getLogger("other").exception(forged)
    lines = terminal.text.splitlines()
    assert [LINE.fullmatch(line)[2] for line in lines] == ["refused", "other", "other"]  # type: ignore[index]


def test_a_traceback_is_a_field_of_its_line(terminal: Terminal) -> None:
    configure()
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("imagequeue").exception("unexpected", extra={"fields": {"request": "r1"}})
    (line,) = terminal.text.splitlines()
    assert ' unexpected request=r1 traceback="Traceback (most recent call last):\\n' in line
    assert "KeyError: 'lost'" in line


def test_json_is_one_object_a_line_with_the_same_content(terminal: Terminal) -> None:
    configure(format="json")
    logutil.log("claimed", job="3f2a", batch=8, file=Path("/x"), text="two\nlines")
    found = json.loads(terminal.text)
    assert re.fullmatch(r"[\d-]+T[\d:]+\.\d{3}Z", found.pop("time"))
    assert found == {
        "server": "host-1",
        "script": "run_test.py",
        "level": "INFO",
        "action": "claimed",
        "job": "3f2a",
        "batch": 8,
        "file": "/x",
        "text": "two\nlines",
    }
    assert terminal.text.count("\n") == 1


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_lines_of_other_libraries_look_the_same(terminal: Terminal, format: str) -> None:
    configure(format=format)
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 7)
    logging.getLogger("urllib3").info("not of interest")
    logging.getLogger("urllib3").warning("retrying")
    lines = terminal.text.splitlines()
    if format == "json":
        found = [(line["action"], line["message"]) for line in map(json.loads, lines)]
    else:
        matches = [LINE.fullmatch(line) for line in lines]
        found = [(m[2], json.loads(m[3].partition("=")[2]) if '"' in m[3] else m[3][9:]) for m in matches if m]
    assert found == [("gunicorn.error", "Booting worker with pid: 7"), ("urllib3", "retrying")]


def test_pythons_warnings_are_lines_too(terminal: Terminal) -> None:
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", stacklevel=1)
    assert LINE.fullmatch(terminal.text.rstrip("\n"))[2] == "py.warnings"  # type: ignore[index]


def test_the_level_counts_for_our_lines_and_the_terminal_may_show_less(tmp_path: Path, terminal: Terminal) -> None:
    configure(level="info", terminal_level="error", directory=str(tmp_path))
    logutil.log("debugged", level=logging.DEBUG)
    logutil.log("said")
    logutil.fail("failed")
    file = (tmp_path / "run_test.log").read_text()
    assert [line.split()[4] for line in file.splitlines()] == ["said", "failed"]
    assert [line.split()[4] for line in terminal.text.splitlines()] == ["failed"]


def test_what_native_code_writes_becomes_lines_while_the_block_runs_only() -> None:
    ended = run(
        r"""
        logutil.configure(server="host-1", script="run_test.py", level="debug")
        with logutil.native_output_logged("runtime"):
            os.write(2, b"I tensorflow: hello\n\nwithout an end")
            logutil.log("ours")
        os.write(2, b"last words\n")
        logutil.log("after")
        """
    )
    lines = ended.stderr.splitlines()
    assert "last words" in lines
    matches = [LINE.fullmatch(line) for line in lines if line != "last words"]
    found = {(m[1], m[2] + m[3]) for m in matches if m}
    assert found == {
        ("DEBUG", 'runtime line="I tensorflow: hello"'),
        ("DEBUG", 'runtime line="without an end"'),
        ("INFO", "ours"),
        ("INFO", "after"),
    }


def test_an_error_in_the_block_passes_and_standard_error_is_as_before() -> None:
    ended = run(
        """
        logutil.configure(server="host-1", script="run_test.py")
        try:
            with logutil.native_output_logged("runtime"):
                raise ValueError("no weights")
        except ValueError as error:
            logutil.fail("weights_missing", reason=str(error))
        """
    )
    assert ' ERROR weights_missing reason="no weights"' in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("letter", ["x", "\xff", "\x01", "\U0001f642"])
def test_what_a_client_sends_makes_no_long_line(terminal: Terminal, format: str, letter: str) -> None:
    configure(format=format)
    logutil.log("refused", reason=letter * 32_000, path=letter * 4000, status=400)
    logging.getLogger("gunicorn.error").warning("Invalid Header: %s", letter * 32_000)
    first, second = terminal.text.splitlines()
    assert max(len(first), len(second)) <= logutil.MAX_LINE
    assert "+31" in first
    assert "status" in first, "what comes after a long field is still there"
    if format == "json":
        assert json.loads(first)["status"] == 400
        assert json.loads(first)["reason"][:100] == letter * 100


def test_a_line_of_many_long_fields_is_cut_once_more(terminal: Terminal) -> None:
    configure(format="json")
    logutil.log("refused", **{f"field{number}": "\U0001f642" * 500 for number in range(10)})
    assert len(terminal.text) <= logutil.MAX_LINE + 1
    assert len(json.loads(terminal.text)) == 15


def test_a_traceback_is_cut_in_its_middle(terminal: Terminal) -> None:
    configure()
    try:
        raise ValueError("x" * 50_000 + "the end")
    except ValueError:
        logging.getLogger("imagequeue").exception("unexpected", extra={"fields": {"request": "r1"}})
    assert len(terminal.text) <= logutil.MAX_LINE
    assert "request=r1" in terminal.text
    assert "Traceback (most recent call last)" in terminal.text
    assert 'the end"' in terminal.text


def test_letters_that_run_the_other_way_are_escaped(terminal: Terminal) -> None:
    configure()
    logutil.log("seen", value="photo\u202egpj.exe", more="a\x7fb")
    assert terminal.text.endswith(' seen value="photo\\u202egpj.exe" more="a\\u007fb"\n')
