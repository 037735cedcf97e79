"""pip install, told to a person: `python -m scripts.install requirements-serve.txt`.

What is being fetched and how large it is, on one line of a terminal that is written over; where it fails, what happened
and what to do. Where uv is on the PATH it installs, and pip only what uv cannot. Exit code: pip's. It runs before
anything is installed, so it imports nothing that is not Python's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TextIO

# Where nobody looks at a terminal, only these are worth a line.
LARGE_MB = 20.0
_UNITS = {"kB": 1e-3, "MB": 1.0, "GB": 1e3, "KiB": 1.024e-3, "MiB": 1.024**2, "GiB": 1.024**3 * 1e3}
# As pip says it, and as uv does.
_DOWNLOAD = re.compile(r"\s*Downloading (\S+) \(([\d.]+) ?([kKMG]i?B)\)")
_COLLECT = re.compile(r"\s*Collecting ([\w.\[\]-]+)")
_PREPARED = re.compile(r"Prepared (\d+) packages?")
# What pip is told in the environment, and what uv calls it.
_UV_NAMES = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS", "PIP_CERT": "SSL_CERT_FILE"}

# The first that fits: pip also says that it found nothing where it could not look.
REASONS = (
    (
        ("No space left on device", "Errno 28", "Disk quota exceeded"),
        "The disk is full. The packages need some 2 GB here, and as much for pip while it unpacks them (TMPDIR).",
    ),
    (
        (
            "Temporary failure in name resolution",
            "Name or service not known",
            "nodename nor servname",
            "Failed to establish a new connection",
            "Network is unreachable",
            "ConnectTimeoutError",
            "ProxyError",
            "Connection refused",
        ),
        "The package index cannot be reached. Is this machine online? Behind a proxy set HTTPS_PROXY; for an index\n"
        "of your own set PIP_INDEX_URL. Then the same command goes on where it stopped.",
    ),
    (
        ("SSLError", "CERTIFICATE_VERIFY_FAILED"),
        "The package index's certificate is not trusted here. A proxy that opens connections needs its own: PIP_CERT.",
    ),
    (
        ("No matching distribution found", "Requires-Python", "requires a different Python"),
        "A package has no version for this Python or machine. Another may do: make PYTHON=python3.12 clean serve",
    ),
    (
        ("Permission denied", "Errno 13"),
        "A file may not be written. Is .venv somebody else's? `make clean` removes it.",
    ),
    (("Killed", "MemoryError", "Cannot allocate memory"), "There was not enough memory to install the packages."),
)


class Progress:
    """What pip does, in a person's words."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._started = time.monotonic()
        self._doing = "asking what is needed"
        self._mb = 0.0

    def heard(self, line: str) -> None:
        """One line of pip's or uv's output."""
        if match := _DOWNLOAD.match(line):
            name, size, unit = match.groups()
            mb = float(size) * _UNITS[unit]
            self._mb += mb
            self._doing = f"downloading {_package(name)}, {size} {unit}"
            if mb >= LARGE_MB:
                self._say()
        elif match := _COLLECT.match(line):
            self._doing = f"looking for {match[1]}"
        elif line.startswith("Installing collected packages:"):
            self._doing = f"unpacking {line.count(',') + 1} of them"
            self._say()
        elif match := _PREPARED.match(line):
            self._doing = f"unpacking {match[1]} of them"
            self._say()

    def tick(self) -> None:
        """Time goes by."""
        if self._is_terminal:
            self._stream.write(f"\r  {self.line()}\x1b[K")
            self._stream.flush()

    def line(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60}:{seconds % 60:02d}  {self._mb:.0f} MB so far, {self._doing}"

    def end(self) -> None:
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _say(self) -> None:
        if not self._is_terminal:
            self._stream.write(f"  {self.line()}\n")
            self._stream.flush()


def _package(file: str) -> str:
    return file.rsplit("/", 1)[-1].split("-")[0]


def reason(output: str) -> str:
    """Why pip failed and what to do; its own last words where nobody knows."""
    for words, text in REASONS:
        if any(word in output for word in words):
            return text
    return "\n".join(output.strip().splitlines()[-5:]) or "pip said nothing."


def install(
    command: Sequence[str], progress: Progress, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run pip or uv; its exit code, and the end of what it said."""
    said: deque[str] = deque(maxlen=200)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.wait(0.5):
            progress.tick()

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            progress.heard(line)
        return process.wait(), "".join(said)
    except KeyboardInterrupt:
        # The terminal has told pip too.
        process.wait()
        return 130, "Stopped. The same command goes on where it stopped."
    finally:
        is_over.set()
        ticker.join()
        progress.end()


def uv_environment(given: Mapping[str, str]) -> dict[str, str]:
    """With what pip is told about its index, which uv would look for under names of its own."""
    told = {name: given[pips] for pips, name in _UV_NAMES.items() if given.get(pips) and not given.get(name)}
    return {**given, **told}


def install_with_uv(uv: str, requirements: str) -> bool:
    """Whether it could. Where not, pip will say why, in words that are known here."""
    command = [uv, "pip", "install", "--color", "never", "--python", sys.executable, "-r", requirements]
    try:
        code, said = install(command, Progress(sys.stdout), uv_environment(os.environ))
    except OSError as error:
        code, said = 1, str(error)
    if code == 130:
        print(said, file=sys.stderr)
        raise SystemExit(code)
    if code:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing").strip()
        print(f"  uv could not install them ({last}); pip tries.", flush=True)
    return code == 0


def main() -> None:
    requirements = sys.argv[1]
    if (uv := shutil.which("uv")) and install_with_uv(uv, requirements):
        return
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-color", "--progress-bar", "off"]
    code, said = install([*pip, "-r", requirements], Progress(sys.stdout))
    if code:
        print(f"The packages could not be installed.\n{reason(said)}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
