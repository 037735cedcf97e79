"""Log files: shared by threads and processes, moved away, full, gone; no line is torn, and a lost one ends nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from pathlib import Path

import pytest

import logutil
from tests.support.logs import LINE, Terminal, configure, run


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


def test_a_fifo_where_the_log_should_be_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run_test.log")
    ended = run(
        'logutil.configure(server="host-1", script="run_test.py", directory=os.environ["LOGS"])', LOGS=str(tmp_path)
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"LOG_DIR: {tmp_path} cannot be written to: ")


def test_another_users_fifo_is_not_written_to_though_somebody_reads_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a FIFO away")
    os.mkfifo(tmp_path / "run_test.log")
    os.chown(tmp_path / "run_test.log", 65534, 65534)
    reading = os.open(tmp_path / "run_test.log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        ended = run(
            'logutil.configure(server="host-1", script="run_test.py", directory=os.environ["LOGS"])', LOGS=str(tmp_path)
        )
    finally:
        os.close(reading)
    assert (ended.returncode, ended.stderr) == (
        2,
        f"LOG_DIR: {tmp_path} cannot be written to: It is another user's FIFO.\n",
    )
