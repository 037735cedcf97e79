"""The one log line: its format, and that nobody forges, tears or loses one."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import logutil
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT, eventually

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z host-1 run_test\.py (DEBUG|INFO|WARNING|ERROR) (\S+)(.*)")


class Terminal:
    """What went to standard error so far."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capfd.readouterr().err
        return self._text


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """Standard error; whatever the test configured is undone."""
    root = logging.getLogger()
    loggers = [logging.getLogger(name) for name in ("", "imagequeue", "gunicorn.error")]
    levels, handlers, raises = [each.level for each in loggers], root.handlers[:], logging.raiseExceptions
    yield Terminal(capfd)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)
    logging.raiseExceptions = raises
    logging.captureWarnings(False)


def configure(**options: str) -> None:
    logutil.configure(**({"server": "host-1", "script": "run_test.py"} | options))


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


def test_configured_again_each_line_is_still_written_once(tmp_path: Path, terminal: Terminal) -> None:
    for _ in range(3):
        configure(directory=str(tmp_path / "logs"))
    logutil.log("once")
    assert terminal.text.count("once") == 1
    assert (tmp_path / "logs" / "run_test.log").read_text().count("once") == 1


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path, terminal: Terminal) -> None:
    configure(directory=str(tmp_path))
    logutil.log("before")
    (tmp_path / "run_test.log").rename(tmp_path / "run_test.log.1")
    logutil.log("after")
    assert "before" in (tmp_path / "run_test.log.1").read_text()
    assert "after" in (tmp_path / "run_test.log").read_text()


def test_a_file_name_that_is_no_unicode_does_not_lose_its_line(tmp_path: Path, terminal: Terminal) -> None:
    configure(directory=str(tmp_path))
    logutil.log("refused", file=os.fsdecode(b"photo-\xff.jpg"))
    assert "photo-" in (tmp_path / "run_test.log").read_text()


def test_a_directory_that_cannot_be_is_a_setting_that_cannot_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        configure(directory=str(tmp_path / "file" / "logs"))
    assert ended.value.code == 2
    assert capfd.readouterr().err == f"LOG_DIR: {tmp_path / 'file' / 'logs'} cannot be written to: Not a directory.\n"


def test_threads_write_whole_lines(tmp_path: Path, terminal: Terminal) -> None:
    configure(directory=str(tmp_path))

    def write(thread: int) -> None:
        for number in range(200):
            logutil.log("wrote", thread=thread, number=number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "run_test.log").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert {line.partition(" wrote ")[2] for line in lines} == {
        f"thread={t} number={n}" for t in range(8) for n in range(200)
    }


def run(program: str, *, stderr: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: forks and file descriptors are not to be tried in the one that runs the tests."""
    setting_up = "import logging, os, sys, threading\nimport logutil\n"
    return subprocess.run(
        [sys.executable, "-c", setting_up + textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
        check=False,
    )


def test_forked_processes_share_a_file_and_each_line_is_whole(tmp_path: Path) -> None:
    ended = run(
        """
        logutil.configure(server="host-1", script="run_test.py", directory=os.environ["TO"])
        stop = threading.Event()
        # A fork while another thread holds the handlers' locks is what hangs careless loggers.
        def chatter():
            while not stop.is_set():
                logutil.log("chatter")
        talker = threading.Thread(target=chatter)
        talker.start()
        children = []
        for child in range(6):
            pid = os.fork()
            if pid == 0:
                for number in range(100):
                    logutil.log("forked", child=child, number=number, padding="x" * 300)
                os._exit(0)
            children.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in children]
        stop.set()
        talker.join()
        print(codes)
        """,
        stderr=subprocess.DEVNULL,
        TO=str(tmp_path),
    )
    assert ended.stdout == f"{[0] * 6}\n"
    lines = (tmp_path / "run_test.log").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert sum(" forked " in line for line in lines) == 600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "run_test.log").symlink_to("/dev/full")
    ended = run(
        """
        logutil.configure(server="host-1", script="run_test.py", directory=os.environ["TO"])
        for number in range(100):
            logutil.log("working", number=number)
        print("went on")
        """,
        TO=str(tmp_path),
    )
    assert (ended.returncode, ended.stdout) == (0, "went on\n")
    assert ended.stderr.count(" working ") == 100, "the terminal still has room"
    assert "Traceback" not in ended.stderr


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


class Viewer:
    """`python logutil.py …` on one Redis."""

    def __init__(self, url: str) -> None:
        self.environment = {**os.environ, "REDIS_URL": url}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "logutil.py"), *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def logged(redis_server: RedisServer) -> Iterator[Viewer]:
    """A Redis in which two servers have logged; the second's lines came first."""
    with redis_server.client() as client:
        now = int(client.time()[0]) * 1000
        for at, server, level, job in ((now - 1, "host-2", "INFO", "bb"), (now - 2, "host-1", "WARNING", "aa")):
            content = {"time": "T", "server": server, "script": "s.py", "level": level, "action": "did", "job": job}
            client.xadd("{image_queue}:log", {"at": at, "line": json.dumps(content | {"says": "a b"})})
    return Viewer(redis_server.url)


def test_the_lines_of_all_servers_are_shown_in_the_order_of_their_events(logged: Viewer) -> None:
    ended = logged.run()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == 'T host-1 s.py WARNING did job=aa says="a b"\nT host-2 s.py INFO did job=bb says="a b"\n'


def test_a_wish_leaves_the_others_out(logged: Viewer) -> None:
    for wish in (("--job", "bb"), ("--server", "host-2")):
        assert [line.split()[1] for line in logged.run(*wish).stdout.splitlines()] == ["host-2"]
    assert [line.split()[1] for line in logged.run("--level", "warning").stdout.splitlines()] == ["host-1"]
    assert len(logged.run("--since", "1h").stdout.splitlines()) == 2
    assert json.loads(logged.run("--job", "aa", "--json").stdout)["says"] == "a b"


def test_what_comes_is_followed_and_a_redis_that_comes_back_too(
    logged: Viewer, redis_server: RedisServer, tmp_path: Path
) -> None:
    output = tmp_path / "followed"
    with open(output, "w") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "logutil.py"), "--follow", "--since", "1h"],
            cwd=ROOT,
            env=logged.environment,
            stdout=file,
            stderr=file,
        )

    def say(action: str) -> None:
        line = json.dumps({"time": "T", "server": "h", "script": "s", "level": "INFO", "action": action})
        with redis_server.client() as client:
            client.xadd("{image_queue}:log", {"at": 1, "line": line})

    try:
        eventually(lambda: output.read_text().count("\n") == 2)
        say("news")
        eventually(lambda: "T h s INFO news\n" in output.read_text())
        redis_server.stop()
        eventually(lambda: "Waiting for it." in output.read_text())
        redis_server.start()
        say("back")
        eventually(lambda: "T h s INFO back\n" in output.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert "Traceback" not in output.read_text()


def test_a_redis_that_is_away_is_said_in_one_line() -> None:
    ended = Viewer(f"redis://127.0.0.1:{free_port()}/0").run()
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "REDIS_URL" in ended.stderr


def test_a_directory_that_goes_away_costs_the_line_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    logutil.configure(server="host-1", directory=str(directory), script="run_test.py")
    try:
        logutil.log("before")
        directory.rename(tmp_path / "gone")
        logutil.log("lost")
        (tmp_path / "gone").rename(directory)
        logutil.log("after")
    finally:
        for handler in logging.getLogger().handlers[:]:
            logging.getLogger().removeHandler(handler)
            handler.close()
    written = (directory / "run_test.log").read_text()
    assert "before" in written
    assert "after" in written
