"""The images that were given up: `python -m imagequeue.dead` lists, exports and re-queues them.

    python -m imagequeue.dead list
    python -m imagequeue.dead export DIRECTORY      each document as JSON, and its pixels as a PNG
    python -m imagequeue.dead requeue ID [ID ...]   under a new id each; `requeue --all` for all
    python -m imagequeue.dead clear

What is re-queued is listed no more. REDIS_URL and IMAGE_QUEUE, from the environment or a file .env, say where.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from imagequeue.connections import connect
from imagequeue.errors import ImageQueueError
from imagequeue.job import Job, id_of, new_id
from imagequeue.jobqueue import JobQueue
from imagequeue.plaintext import escaped

# Nobody waits for a re-queued image, so its time may be long.
REQUEUE_TIMEOUT = 3600.0
# The year 9999, which a date can still be made of.
LATEST = 253_402_300_800.0


@dataclass(frozen=True)
class Dead:
    """One document that was given up: when (Unix seconds), why, the document itself, and all of it as Redis has it."""

    at: float
    reason: str
    document: bytes
    entry: bytes

    @classmethod
    def decode(cls, entry: bytes) -> Dead:
        """What is no entry of this list is one all the same: of the year 1970, with itself as the document."""
        try:
            # A document may be any bytes; Redis's Lua leaves them as they are.
            fields: dict[str, Any] = json.loads(entry.decode(errors="surrogateescape"))
            at = fields["at"] / 1000
            if not 0 <= at < LATEST:
                raise ValueError(at)
            return cls(at, str(fields["reason"]), _encoded(str(fields["document"])), entry)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return cls(0.0, "not an entry of this list", entry, entry)

    @property
    def id(self) -> str:
        return id_of(self.document)


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        # Half a character, escaped in JSON.
        return text.encode(errors="backslashreplace")


def export(entries: Sequence[Dead], directory: Path) -> int:
    """Write each document, and its pixels as a picture where they are a square; returns how many."""
    directory.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        # A document that is none may say anything where its id should be, a path too.
        name = re.sub(r"\W", "_", entry.id)[:100]
        (directory / f"{name}.json").write_bytes(entry.document)
        try:
            pixels = Job.decode(entry.document).pixels
        except ValueError:
            continue
        side = math.isqrt(len(pixels) // 3)
        if pixels and side * side * 3 == len(pixels):
            Image.frombytes("RGB", (side, side), pixels).save(directory / f"{name}.png")
    return len(entries)


def requeue(queue: JobQueue, dead: Dead) -> str:
    """Let the image wait again, under a new id, which is returned; empty if it is not among the dead any more.

    Raises ValueError for what is no document.
    """
    job = replace(Job.decode(dead.document), id=new_id(), reply_to="")
    return job.id if queue.requeue(dead.entry, job, timeout=REQUEUE_TIMEOUT) else ""


def main(arguments: Sequence[str] | None = None) -> int:
    from settings import load_or_exit

    parser = argparse.ArgumentParser(
        prog="python -m imagequeue.dead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--redis-url", help="instead of REDIS_URL")
    parser.add_argument("--queue", help="instead of IMAGE_QUEUE")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    verbs.add_parser("clear")
    verbs.add_parser("export").add_argument("directory", type=Path)
    again = verbs.add_parser("requeue")
    again.add_argument("ids", nargs="*", metavar="ID")
    again.add_argument("--all", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.verb == "requeue" and not chosen.ids and not chosen.all:
        again.error("an ID, or --all")
    settings = load_or_exit()
    try:
        client = connect(chosen.redis_url or settings.redis_url, name="dead")
        queue = JobQueue(client, chosen.queue or settings.image_queue, result_ttl=settings.result_ttl)
        return _do(chosen, queue)
    except ImageQueueError as error:
        print(error.message, file=sys.stderr)
        return 1


def _do(chosen: argparse.Namespace, queue: JobQueue) -> int:
    entries = [Dead.decode(entry) for entry in queue.dead()]
    if chosen.verb == "list":
        for entry in entries:
            print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.at)), escaped(entry.id), escaped(entry.reason))
        print(f"{len(entries)} images were given up.", file=sys.stderr)
    elif chosen.verb == "export":
        print(f"{export(entries, chosen.directory)} documents in {chosen.directory}", file=sys.stderr)
    elif chosen.verb == "clear":
        queue.clear_dead()
    else:
        return _requeue_all(queue, [entry for entry in entries if chosen.all or entry.id in chosen.ids], chosen.ids)
    return 0


def _requeue_all(queue: JobQueue, wanted: Sequence[Dead], ids: Sequence[str]) -> int:
    """Each of `wanted`; returns 1 if one of them, or of `ids`, could not be."""
    failed = dict.fromkeys(sorted(set(ids) - {entry.id for entry in wanted}), "is not among them")
    for entry in wanted:
        try:
            if again := requeue(queue, entry):
                print(escaped(entry.id), "→", again)
            else:
                failed[entry.id] = "is not among them any more"
        except ValueError:
            failed[entry.id] = "is no job document"
    for job_id, reason in failed.items():
        print(f"{escaped(job_id)} {reason}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
