"""How many descriptors a process may have, and how many of them its connections."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from imagequeue.web import descriptors


@pytest.fixture
def low_limit() -> Iterator[int]:
    """A soft limit below the hard one, for this process; yields the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_may_open_as_many_descriptors_as_its_hard_limit_says(low_limit: int) -> None:
    descriptors.raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low_limit, low_limit)


def test_a_limit_that_cannot_be_raised_stays(low_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    descriptors.raise_limit()


def test_connections_leave_some_for_the_process_itself(low_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert descriptors.most_connections(10) == 10
    open_now = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else descriptors.RESERVED
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert abs(soft - open_now - descriptors.RESERVED - descriptors.most_connections(10**6)) <= 2
    monkeypatch.setattr(resource, "getrlimit", lambda what: (50, 50))
    assert descriptors.most_connections(10**6) == descriptors.LEAST_CONNECTIONS
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY,) * 2)
    assert descriptors.most_connections(10**6) == 10**6
