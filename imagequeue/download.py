"""Downloads that end soon where there is no internet: a host gets a few seconds for its first answer.

urllib and Keras wait for each step and each address on its own: for a name server, for a host behind a firewall that
drops packets, for a proxy that accepts and never answers. Here all of it together has one limit. Once the answer has
begun a download may be as slow as it is, as long as it is not silent.
"""

from __future__ import annotations

import concurrent.futures
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

# Name server, connection, TLS, proxy and redirections together. On a satellite's line they take 3 s.
ANSWER_SECONDS = 5.0
# Between two pieces of one file.
SILENCE_SECONDS = 30.0


class Opener(urllib.request.OpenerDirector):
    """What `urllib.request.urlopen` uses while it is installed. `files`: the names of what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        # With the proxies that the environment names.
        self._opener = urllib.request.build_opener()
        self.files: list[str] = []

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        """The response. Raises URLError, with the reason in words."""
        address = fullurl if isinstance(fullurl, str) else fullurl.full_url
        self.files.append(PurePosixPath(urlsplit(address).path).name)
        opened = _in_a_thread(lambda: self._opener.open(fullurl, data, SILENCE_SECONDS))
        concurrent.futures.wait([opened], ANSWER_SECONDS)
        if not opened.done():
            opened.add_done_callback(_close)
            raise urllib.error.URLError(f"no answer within {ANSWER_SECONDS:g} s")
        try:
            return opened.result()
        except urllib.error.URLError:
            raise
        except OSError as error:
            raise urllib.error.URLError(error) from error


@contextmanager
def bounded() -> Iterator[Opener]:
    """Within, every urlopen and urlretrieve of this process is bounded so."""
    before = urllib.request._opener  # type: ignore[attr-defined]
    opener = Opener()
    urllib.request.install_opener(opener)
    try:
        yield opener
    finally:
        urllib.request.install_opener(before)


def why_not(address: str) -> str:
    """Ask for that file's headers; the reason why it cannot be had now, or nothing. Takes ANSWER_SECONDS at most."""
    try:
        Opener().open(urllib.request.Request(address, method="HEAD")).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason)
    return ""


def _in_a_thread(call: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """A daemon's: nobody waits at the process's end for one that hangs, as a ThreadPoolExecutor would."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="download", daemon=True).start()
    return future


def _close(opened: concurrent.futures.Future[Any]) -> None:
    with suppress(Exception):
        opened.result().close()
