"""5,000 broken and hostile uploads against a running service: `make fuzz`. Exit 1 if it answers any of them wrongly.

Starts what it needs: a Redis of its own, a worker with the null model, a web server. Every file is one of the corpus of
tests/support/hostile.py or a valid file with some bytes broken, sent in each form that a request may have; of some
requests the body or the type is broken, too. An answer is right if it is 200, a 4xx, or 503 with a Retry-After; no
process may die, the memory of each web process and of its decoders must stay below the bounds of docs/internals.md, and
/livez, asked 20 times a second all along, must take AIM_LIVEZ_MS at most (p99). `--only tiff avif` breaks files of some
kinds (see tests/support/mutations.py) and leaves the corpus out.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from bench.attacks.figures import milliseconds
from bench.attacks.memory import MemoryWatch, children, status_of
from bench.attacks.verdict import decoders_bound_mb
from bench.attacks.watchers import Watcher
from bench.attacks.wire import Address
from imagequeue import cpus
from imagequeue.web.decoding.pool import decoders_for
from tests.support.hostile import KINDS
from tests.support.mutations import EDGES, FILES
from tests.support.redisserver import RedisServer, binaries
from tests.support.system import System

CONNECTIONS = 16
MAX_UPLOAD_BYTES, MAX_PIXELS = 10 * 2**20, 50_000_000
# Of the web process, see docs/internals.md; the bodies of these uploads are small.
BOUND = 96 * 2**20
AIM_LIVEZ_MS = 200
WEB_PROCESSES = 2
TYPES = ("multipart/form-data; boundary=b", "application/json", "image/png", "application/octet-stream", "text/plain")
OTHERS = ("/v1/models/null:predict", "/v1/models/null:classify", "/v2/models/null/infer")


@dataclass(frozen=True)
class Upload:
    """One request: where to, of which type, and its body."""

    path: str
    kind: str
    body: bytes


def broken(dice: random.Random, content: bytes) -> bytes:
    """The same bytes but for a few, changed, put in, doubled or taken out."""
    changed = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(changed) + 1)
        end = at + dice.randint(1, 64)
        how = dice.randrange(6)
        if how == 0:
            changed[at : at + 1] = dice.randbytes(1)
        elif how == 1:
            changed[at : at + 4] = dice.choice(EDGES)
        elif how == 2:
            changed[at:at] = dice.randbytes(dice.randint(1, 16))
        elif how == 3:
            changed[at:at] = changed[at:end]
        elif how == 4:
            del changed[at:end]
        elif dice.random() < 0.2:
            del changed[at:]
    return bytes(changed)


def form(file: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    return head + file + b"\r\n--b--\r\n"


def packed(dice: random.Random, file: bytes) -> Upload:
    """The file in one of the forms of a request."""
    text = base64.b64encode(file).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    ways = (
        Upload("/predict", TYPES[0], form(file)),
        Upload("/predict", "image/jpeg", file),
        Upload("/predict", TYPES[1], json.dumps({"images": [text, text]}).encode()),
        Upload(OTHERS[0], TYPES[1], json.dumps({"instances": [{"b64": text}]}).encode()),
        Upload(OTHERS[1], TYPES[1], json.dumps({"examples": [{"image": {"b64": text}}]}).encode()),
        Upload(OTHERS[2], TYPES[1], json.dumps({"inputs": [tensor]}).encode()),
    )
    # Half of them in the plainest way, which leads straight to the decoder.
    return ways[1] if dice.random() < 0.5 else dice.choice(ways)


def uploads(dice: random.Random, count: int, only: Sequence[str] = ()) -> Iterator[Upload]:
    """only: the beginnings of the names of the files that are broken; none for all of them, and the corpus first."""
    corpus = [] if only else [case.file for make in KINDS for case in make()]
    valid = [file for name, file in FILES.items() if not only or name.startswith(tuple(only))]
    for number in range(count):
        file = corpus[number] if number < len(corpus) else broken(dice, dice.choice(valid))
        upload = packed(dice, file)
        if dice.random() < 0.2:
            upload = Upload(upload.path, upload.kind, broken(dice, upload.body))
        if dice.random() < 0.05:
            upload = Upload(dice.choice(("/predict", *OTHERS)), dice.choice(TYPES), upload.body)
        yield upload


class Fuzz:
    """The uploads, spread over a few connections; `counts` says how many ended how, `wrong` which must not have."""

    def __init__(self, url: str, sent: Iterator[Upload]) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._url = url
        self._sent = sent
        self._lock = threading.Lock()

    def run(self) -> None:
        threads = [threading.Thread(target=self._send_until_done) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send_until_done(self) -> None:
        with requests.Session() as session:
            while True:
                with self._lock:
                    upload = next(self._sent, None)
                if upload is None:
                    return
                outcome, is_right = self._send(session, upload)
                with self._lock:
                    self.counts[outcome] += 1
                    if not is_right:
                        self.wrong.append(f"{outcome}: {upload.path} {upload.kind} {upload.body[:80]!r}")

    def _send(self, session: requests.Session, upload: Upload) -> tuple[str, bool]:
        headers = {"Content-Type": upload.kind}
        try:
            answer = session.post(self._url + upload.path, data=upload.body, headers=headers, timeout=60)
        except requests.RequestException as error:
            return type(error).__name__, False
        status = answer.status_code
        is_right = status == 200 or 400 <= status < 500 or (status == 503 and "Retry-After" in answer.headers)
        return str(status), is_right


def fuzz(count: int, seed: int, directory: Path, only: Sequence[str] = ()) -> bool:
    found = binaries()
    server = RedisServer(next(iter(found.values()))).start()
    system = System(
        server.url,
        directory,
        MAX_UPLOAD_BYTES=MAX_UPLOAD_BYTES,
        MAX_IMAGE_PIXELS=MAX_PIXELS,
        WEB_PROCESSES=WEB_PROCESSES,
    )
    watcher: Watcher | None = None
    memory: MemoryWatch | None = None
    try:
        system.start()
        web, worker = system.webs[0], system.workers[0]
        processes = children(web.pid)
        port = urlsplit(system.url).port
        assert port is not None
        address = Address(port)
        livez = address.head("GET", "/livez", "Connection: close")
        watcher = Watcher(address, livez, source="", rate=20.0, timeout=10.0)
        watcher.wait_for_first()
        bound = decoders_bound_mb(
            decoders_for(cpus.available(), WEB_PROCESSES),
            max_image_pixels=MAX_PIXELS,
            max_upload_bytes=MAX_UPLOAD_BYTES,
        )
        memory = MemoryWatch(web.pid, limit_mb=2 * WEB_PROCESSES * bound, on_limit=lambda: None)
        started = time.monotonic()
        run = Fuzz(system.url, uploads(random.Random(seed), count, only))
        run.run()
        seconds = time.monotonic() - started
        survived = web.is_running and worker.is_running and children(web.pid) == processes and system.is_ready()
        peak = max(peak_bytes(pid) for pid in processes) if survived else 0
        broke = len(web.lines("unexpected")) + len(worker.lines("job_failed"))
    finally:
        for watch in (watcher, memory):
            if watch is not None:
                watch.end()
        system.stop()
        server.remove()
    probes = watcher.samples
    most = max(memory.decoders_of.values(), default=0.0)
    slow = milliseconds(probes, 0.99)
    print(f"{count} uploads in {seconds:.1f} s, seed {seed}")
    for outcome, number in sorted(run.counts.items()):
        print(f"  {outcome:<22}{number:>6}")
    print(f"processes     {'all alive, and ready' if survived else 'one has ended'}")
    print(f"unexpected    {broke} lines in the logs")
    print(f"peak memory   {peak / 1e6:.0f} MB of a web process; bound {BOUND / 1e6:.0f}")
    print(f"              {most:.0f} MB of a web process's decoders; bound {bound:.0f}")
    print(f"/livez        {len(probes)} probes, p99 {slow:.0f} ms, max {milliseconds(probes, 1.0):.0f} ms")
    for wrong in run.wrong[:20]:
        print("WRONG", wrong)
    is_bounded = peak < BOUND and most < bound and slow <= AIM_LIVEZ_MS
    return survived and not run.wrong and not broke and is_bounded and sum(run.counts.values()) == count


def peak_bytes(pid: int) -> int:
    return status_of(pid, "VmHWM") * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=(), metavar="KIND")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagequeue-fuzz-") as directory:
        return 0 if fuzz(chosen.count, chosen.seed, Path(directory), chosen.only) else 1


if __name__ == "__main__":
    sys.exit(main())
