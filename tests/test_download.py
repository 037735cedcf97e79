"""Downloads: a host that does not answer is given up soon, one that answers may be as slow as it is."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.error import URLError

import pytest

from imagequeue import download
from tests.support import downloadhosts
from tests.support.downloadhosts import Slow

Host = Callable[[], AbstractContextManager[int]]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies, and a limit that tests can wait for."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.4)


HOSTS = [
    (downloadhosts.refusing, "refused"),
    (downloadhosts.silent, r"no answer within 0\.4 s"),
    pytest.param(
        downloadhosts.dropping,
        r"no answer within 0\.4 s",
        marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses"),
    ),
]


@pytest.mark.parametrize(("host", "said"), HOSTS)
def test_a_host_that_gives_no_answer_is_given_up_with_the_reason(host: Host, said: str) -> None:
    with host() as port, download.bounded() as opener, pytest.raises(URLError, match=said):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/models/weights.h5")
    assert opener.files == ["weights.h5"]


@pytest.mark.parametrize(("host", "said"), HOSTS)
def test_a_proxy_that_gives_no_answer_is_given_up_alike(host: Host, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with host() as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with download.bounded(), pytest.raises(URLError, match=said):
            urllib.request.urlopen("https://weights.invalid/weights.h5")


def test_a_name_that_cannot_be_resolved_is_given_up() -> None:
    assert download.why_not("http://weights.invalid/weights.h5")


def test_the_reason_is_in_words_and_there_is_none_where_the_file_can_be_had() -> None:
    with downloadhosts.refusing() as port:
        assert download.why_not(f"http://127.0.0.1:{port}/") == "Connection refused"
    host = Slow(pieces=0)
    host.headers_after.set()
    assert download.why_not(f"http://127.0.0.1:{host.port}/") == ""
    host.stop()


def test_a_download_that_takes_longer_than_the_limit_goes_on(tmp_path: Path) -> None:
    host, seen = Slow(pieces=3), []
    host.headers_after.set()

    def progress(blocks: int, size: int, whole: int) -> None:
        seen.append(blocks)

    with download.bounded():
        threads = download._in_a_thread(
            lambda: urllib.request.urlretrieve(f"http://127.0.0.1:{host.port}/w.h5", tmp_path / "w.h5", progress)
        )
        # Nothing comes for longer than a first answer may take.
        assert not download.concurrent.futures.wait([threads], 3 * download.ANSWER_SECONDS).done
        for _ in range(3):
            host.go.release()
        threads.result(20)
    assert (tmp_path / "w.h5").read_bytes() == b"xxx"
    assert seen
    host.stop()


def test_an_answer_that_comes_too_late_is_closed() -> None:
    host = Slow(pieces=0)
    with download.bounded(), pytest.raises(URLError, match="no answer"):
        urllib.request.urlopen(f"http://127.0.0.1:{host.port}/")
    host.headers_after.set()
    assert host.is_closed.wait(20)
    host.stop()


def test_what_urllib_used_before_is_used_again_after() -> None:
    before = urllib.request._opener  # type: ignore[attr-defined]
    with downloadhosts.refusing() as port, pytest.raises(URLError), download.bounded():
        urllib.request.urlopen(f"http://127.0.0.1:{port}/")
    assert urllib.request._opener is before  # type: ignore[attr-defined]
