"""What the tests of decoding share: pools whose processes end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.decoding import Pool


@pytest.fixture
def make_pool() -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(decoders: int = 2) -> Pool:
        pools.append(Pool(decoders))
        return pools[-1]

    yield make
    for pool in pools:
        pool.stop()
