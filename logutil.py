"""The log of every process: one line in one format, whoever writes it.

    2026-01-31T12:00:00.123Z host-1 run_web_server.py INFO enqueued job=3f2a… depth=4
    time (UTC)               server script            level action   fields

Any file says what happened with `log("enqueued", job=id, depth=4)`. A script calls `configure` once; from then
on the lines of Gunicorn, TensorFlow and every other library that uses `logging` look the same, their logger's
name standing as the action. With LOG_FORMAT=json each line is one JSON object with the same content. With
LOG_DIR the lines are also appended to one file for each script, so that `grep ID logs/*.log` tells the story
of one request through client, web server and worker. With LOG_REDIS=1 the lines of all servers gather in Redis, and

    python logutil.py --follow --level warning
    python logutil.py --job 3f2a…

shows them, in the order of Redis's clock, coloured on a terminal.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import FileIO, TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from imagequeue.errors import RedisDown
from imagequeue.events import fail, log, warn
from imagequeue.logstream import Line, LogReader, LogStream
from imagequeue.logview import HEAD, LEVELS, is_wanted, painted, seconds_of
from imagequeue.plaintext import UNSAFE, one_word, quoted, shortened, shortened_middle

__all__ = ["configure", "fail", "log", "native_output_logged", "warn"]

# What can stand behind `key=` without quotes and still be cut at the next space.
_PLAIN = re.compile(rf"[^\s\"'={UNSAFE}]+")
# What a client sends may be 32 kB long and become a field of each of its lines: characters of one field, of a
# traceback, and of a line, in which each of them may be written as twelve.
MAX_FIELD = 500
MAX_TRACEBACK = 8000
MAX_LINE = 16_384


class LineFormatter(logging.Formatter):
    """One record, one line, for people and grep. A line break in a value is escaped: nobody forges a line."""

    def __init__(self, server: str, script: str) -> None:
        super().__init__()
        self.server = server
        self.script = script

    def format(self, record: logging.LogRecord) -> str:
        action, fields = _content(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            fields["traceback"] = shortened_middle(record.exc_text, MAX_TRACEBACK)
        head = (_timestamp(record.created), record.levelname, action[:MAX_FIELD])
        line = self.compose(*head, fields)
        # Most lines are no longer than a field may be, and need not be looked at any closer.
        if len(line) > MAX_FIELD:
            limits = {"traceback": MAX_LINE} if record.exc_text else {}
            cut = {name: shortened(value, limits.get(name, MAX_FIELD)) for name, value in fields.items()}
            line = self.compose(*head, cut)
        if len(line) > MAX_LINE:
            limit = MAX_LINE // (12 * (len(fields) + 1))
            line = self.compose(*head, {name: shortened(value, limit) for name, value in fields.items()})
        return line

    def compose(self, timestamp: str, level: str, action: str, fields: dict[str, object]) -> str:
        pairs = "".join(f" {key}={_value(value)}" for key, value in fields.items())
        return f"{timestamp} {self.server} {self.script} {level} {action}{pairs}"


class JsonFormatter(LineFormatter):
    """One record, one JSON object, for machines."""

    def compose(self, timestamp: str, level: str, action: str, fields: dict[str, object]) -> str:
        head = dict(zip(HEAD, (timestamp, self.server, self.script, level, action), strict=True))
        return quoted(head | fields, default=str)


class LogFile(WatchedFileHandler):
    """Watched, so that logrotate may move the file away; opened to append, so that processes may share it."""

    def emit(self, record: logging.LogRecord) -> None:
        # Opening it anew may fail, too: a directory that is gone must end nobody.
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        return _lines_to(self.baseFilename)


def configure(
    *,
    server: str,
    level: str = "info",
    format: str = "text",
    directory: str = "",
    script: str = "",
    terminal_level: str = "",
    stream: LogStream | None = None,
) -> None:
    """Send every log line of this process to standard error, and to `directory`/<script>.log if that is given.

    server: this machine's name in each line. level: debug, info, warning or error. format: text or json.
    script: the running script, found by itself. terminal_level: where the terminal shall show less than the file.
    A directory that cannot be written to ends the process with 2, as any setting does that cannot work.
    stream: where the lines are also sent to, for LOG_REDIS.
    Call it again to change it; safe before and after forks, since each line is one write of its own.
    """
    script = script or Path(sys.argv[0] or "python").name
    formatter = (JsonFormatter if format == "json" else LineFormatter)(server, script)
    terminal = logging.StreamHandler(_lines_to(2))
    terminal.setLevel((terminal_level or level).upper())
    handlers: list[logging.Handler] = [terminal]
    if directory:
        handlers.append(_log_file(Path(directory), f"{Path(script).stem}.log"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    if stream is not None:
        stream.setFormatter(JsonFormatter(server, script))
        root.addHandler(stream)
    root.setLevel(logging.WARNING)
    # Libraries talk below WARNING of what concerns their authors; Gunicorn at INFO of what concerns operators.
    logging.getLogger("imagequeue").setLevel(level.upper())
    logging.getLogger("gunicorn.error").setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    # A full disk must not end a server: the line is lost, the request is not.
    logging.raiseExceptions = False
    logging.captureWarnings(True)


@contextmanager
def native_output_logged(action: str) -> Iterator[None]:
    """While the block runs, what C++ code writes to file descriptor 2 becomes log lines, too.

    For the start only, when TensorFlow is talkative: later a dying process's last words must go straight out.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    # Our own lines must not come back through the pipe.
    stream = _lines_to(terminal)
    moved = [h for h in logging.getLogger().handlers if type(h) is logging.StreamHandler]
    before = [handler.setStream(stream) for handler in moved]

    def relay() -> None:
        with os.fdopen(reading, errors="replace") as lines:
            for line in lines:
                if line.strip():
                    log(action, level=logging.DEBUG, line=line.strip())

    thread = threading.Thread(target=relay, name="native-output", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # The pipe ends when its last writing end, descriptor 2, is the terminal again.
        os.dup2(terminal, 2)
        thread.join(timeout=5)
        for handler, old in zip(moved, before, strict=True):
            handler.setStream(old)
        stream.close()
        os.close(terminal)


def _log_file(directory: Path, name: str) -> LogFile:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return LogFile(directory / name)
    except OSError as error:
        print(f"LOG_DIR: {directory} cannot be written to: {error.strerror}.", file=sys.stderr)
        raise SystemExit(2) from None


def _lines_to(file: int | str) -> TextIOWrapper:
    """A stream that writes each line at once and whole, to a descriptor or to the end of a file.

    Without Python's buffer: a process forked while another thread is in it would wait for its lock for ever.
    """
    raw = FileIO(file, "a", closefd=isinstance(file, str), opener=None if isinstance(file, int) else _open_log)
    # The name of somebody's photograph need not be Unicode.
    return TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def _open_log(path: str, flags: int) -> int:
    """Raises PermissionError for another user's FIFO: writing to it would wait for as long as that user likes."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    found = os.fstat(descriptor)
    if stat.S_ISFIFO(found.st_mode) and found.st_uid not in (0, os.geteuid()):
        os.close(descriptor)
        raise PermissionError(errno.EACCES, "It is another user's FIFO", path)
    os.set_blocking(descriptor, True)
    return descriptor


def _content(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    fields = getattr(record, "fields", None)
    if fields is not None:
        return str(record.msg), dict(fields)
    return record.name, {"message": record.getMessage()}


def _timestamp(seconds: float) -> str:
    """UTC, to the millisecond."""
    whole = int(seconds)
    return f"{_second(whole)}.{int(seconds * 1000) - whole * 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _value(value: object) -> str:
    text = str(value)
    # Ids are told at once from what needs a closer look.
    return text if text.isalnum() or _PLAIN.fullmatch(text) else quoted(text)


def _text(content: dict[str, object], is_coloured: bool) -> str:
    """Whoever may write into Redis may have written the entry: it reaches the terminal as words and nothing else."""
    fields = {one_word(name): shortened(value, MAX_TRACEBACK) for name, value in content.items() if name not in HEAD}
    time, server, script, level, action = (one_word(shortened(content.get(name, "-"), MAX_FIELD)) for name in HEAD)
    line = LineFormatter(server, script).compose(time, level, action, fields)
    return painted(line) if is_coloured else line


def _show(reader: LogReader, wanted: argparse.Namespace) -> None:
    def show(line: Line) -> None:
        if is_wanted(line.content, job=wanted.job, server=wanted.server, level=wanted.level):
            text = quoted(line.content) if wanted.json else _text(line.content, sys.stdout.isatty())
            print(text, flush=wanted.follow)

    if wanted.since is not None or not wanted.follow:
        since = 0 if wanted.since is None else reader.now_ms() - int(wanted.since * 1000)
        # Servers send in batches, so the order of coming is not quite the order of events.
        for line in sorted(reader.kept(since), key=lambda line: line.at):
            show(line)
    while wanted.follow:
        try:
            for line in reader.follow():
                show(line)
        except RedisDown as error:
            print(f"{error.message} Waiting for it.", file=sys.stderr)
            time.sleep(1)


def main() -> None:
    from settings import load_or_exit

    parser = argparse.ArgumentParser(description="The log of all servers that run with LOG_REDIS=1.")
    parser.add_argument("--follow", action="store_true", help="go on with what comes; without --since, only that")
    parser.add_argument(
        "--job", default="", metavar="ID", help="only lines about this job, request or trace; the first digits do"
    )
    parser.add_argument("--server", default="", metavar="NAME", help="only lines of this server")
    parser.add_argument("--since", type=seconds_of, metavar="5m", help="only lines of the last 5m (s, m, h, d)")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="only lines of this level and above")
    parser.add_argument("--json", action="store_true", help="each line as a JSON object")
    wanted = parser.parse_args()
    settings = load_or_exit()
    if wanted.follow:
        # Not by an exception: one that comes while a destructor runs is swallowed there, and the following goes on.
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(0))
    try:
        _show(LogReader(settings.redis_url, settings.image_queue), wanted)
    except RedisDown as error:
        print(f"{error.message} REDIS_URL says where it is looked for.", file=sys.stderr)
        raise SystemExit(1) from None
    except (KeyboardInterrupt, BrokenPipeError):
        # The reader has seen enough. What Python would still write at its end has nobody to go to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
