"""Many requests, every one of them accounted for: `python stress_test.py`.

By default 500 requests, 32 at a time, each connection sending its next when it has the answer to the last. With --rate
requests begin on schedule instead, whatever becomes of the others, and latency is counted from the instant at which
each was due, so a server that stalls cannot hide it. Prints how many ended how, the throughput and the latency's
percentiles; on a terminal a line tells the same while it runs. Ctrl-C ends the load early, and accounts for it.

Exit 1 if any answer is missing, is wrong in shape, is an error, or differs from what the same image was answered
before; refusals (503) too, unless --allow-refusals says that they are expected.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import logutil
from imagequeue.client import DEFAULT_URL
from imagequeue.logstream import LogStream
from imagequeue.stress.load import Load
from imagequeue.stress.outcome import ANSWERED
from imagequeue.stress.report import page
from imagequeue.stress.summary import Summary, summarize
from imagequeue.stress.text import LiveLine, compare, describe
from settings import load_or_exit

SAMPLES = Path(__file__).with_name("samples")
SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp",
    ".tif", ".tiff", ".jp2", ".j2k", ".avif", ".heic", ".heif",
)  # fmt: skip
REQUESTS = 500
CONNECTIONS = 32
# With a rate they are what may be unanswered at a time before a due request has to wait for a connection.
CONNECTIONS_WITH_RATE = 128


def read_images(files: Sequence[Path]) -> list[bytes]:
    """The files, and of directories the images in them, in order."""
    try:
        found = [
            each
            for file in files
            for each in (sorted(f for f in file.iterdir() if f.suffix.lower() in SUFFIXES) if file.is_dir() else [file])
        ]
        images = [file.read_bytes() for file in found]
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
    if not images:
        print(f"No image in {', '.join(map(str, files))}.", file=sys.stderr)
        raise SystemExit(1)
    return images


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="images or directories of them, in turn; else the samples")
    add("--url", default=DEFAULT_URL, help=f"the server's address ({DEFAULT_URL})")
    add("--requests", type=int, metavar="N", help=f"how many in all ({REQUESTS}, or as many as --duration allows)")
    add("--duration", type=float, metavar="SECONDS", help="for how long requests begin")
    add(
        "--connections",
        type=int,
        metavar="N",
        help=f"how many at a time ({CONNECTIONS}; {CONNECTIONS_WITH_RATE} with --rate)",
    )
    add("--rate", type=float, metavar="N", help="how many begin each second, on schedule")
    add("--report", type=Path, metavar="FILE.html", help="write the run as one HTML file")
    add("--json", type=Path, metavar="FILE.json", help="write the run's numbers")
    add("--against", type=Path, metavar="OLD.json", help="show an earlier run's numbers beside this one's")
    add("--allow-refusals", action="store_true", help="a 503 does not make the exit code 1")
    add("--api-key", metavar="KEY", help="rather in IMAGEQUEUE_API_KEY: others see a command line")
    return parser


def parse() -> argparse.Namespace:
    checker = parser()
    arguments = checker.parse_args()
    if not arguments.url.startswith(("http://", "https://")):
        checker.error(f"--url: {arguments.url!r} does not begin with http:// or https://")
    for name in ("requests", "connections"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            checker.error(f"--{name}: at least 1")
    for name in ("duration", "rate"):
        if getattr(arguments, name) is not None and not 0 < getattr(arguments, name) < float("inf"):
            checker.error(f"--{name}: more than 0")
    if arguments.requests is None and arguments.duration is None:
        arguments.requests = REQUESTS
    arguments.connections = arguments.connections or (CONNECTIONS_WITH_RATE if arguments.rate else CONNECTIONS)
    try:
        # Before the load, not after it.
        arguments.against = Summary.read(arguments.against) if arguments.against else None
    except (OSError, ValueError) as error:
        checker.error(f"--against: {error}")
    for file in (arguments.report, arguments.json):
        if file is not None and not file.absolute().parent.is_dir():
            checker.error(f"{file}: there is no such directory")
    return arguments


def run(load: Load, images: int, url: str) -> Summary:
    """Put the load on, and account for it."""
    signal.signal(signal.SIGINT, lambda number, frame: load.stop())
    live = LiveLine()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    seconds = load.run(live.show)
    live.end()
    return summarize(
        load.outcomes,
        sent=load.sent,
        seconds=seconds,
        started=started,
        options={
            "url": url,
            "images": images,
            "connections": load.connections,
            "rate": load.rate,
            "requests": load.total,
            "duration": load.duration,
        },
    )


def write_files(arguments: argparse.Namespace, summary: Summary) -> bool:
    try:
        if arguments.json:
            summary.write(arguments.json)
        if arguments.report:
            arguments.report.write_text(page(summary, arguments.against), encoding="utf-8")
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return False
    return True


def main() -> None:
    arguments = parse()
    settings = load_or_exit()
    logutil.configure(
        server=settings.server_name,
        level=settings.log_level,
        format=settings.log_format,
        directory=settings.log_dir,
        terminal_level="error",
        stream=LogStream(settings.redis_url, settings.image_queue) if settings.log_redis else None,
    )
    images = read_images(arguments.files or [SAMPLES])
    load = Load(
        arguments.url,
        images,
        connections=arguments.connections,
        total=arguments.requests,
        duration=arguments.duration,
        rate=arguments.rate,
        api_key=arguments.api_key or settings.imagequeue_api_key,
    )
    summary = run(load, len(images), arguments.url)
    print(describe(summary))
    if arguments.against:
        print(f"\n{compare(arguments.against, summary)}")
    is_written = write_files(arguments, summary)
    good = sum(o.kind == ANSWERED or (arguments.allow_refusals and o.is_refusal) for o in load.outcomes)
    is_whole = summary.sent == load.total or (load.duration is not None and summary.sent > 0)
    raise SystemExit(0 if good == summary.sent and is_whole and is_written else 1)


if __name__ == "__main__":
    main()
