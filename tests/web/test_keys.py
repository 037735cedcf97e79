"""API keys: who is let in, and that nothing tells what they are."""

from __future__ import annotations

import contextlib
import hmac

import pytest
from flask import Flask, Request

from imagequeue.errors import Unauthorized
from imagequeue.web.keys import ApiKeys

KEYS = [("alice", "correct-horse"), ("bob", "battery-staple")]


def request_with(**headers: str) -> Request:
    with Flask("test").test_request_context(headers={k.replace("_", "-"): v for k, v in headers.items()}) as context:
        return context.request


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer battery-staple"},
        {"Authorization": "bearer  battery-staple "},
        {"X_API_Key": "battery-staple"},
        # What another layer's credentials are is not ours to refuse.
        {"Authorization": "Basic YTpi", "X_API_Key": "battery-staple"},
    ],
)
def test_a_key_is_taken_from_either_header_and_its_name_is_the_clients(headers: dict[str, str]) -> None:
    assert ApiKeys(KEYS).client_of(request_with(**headers)) == "bob"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer battery-stapl"},
        {"Authorization": "Bearer battery-staple2"},
        {"Authorization": "Bearer BATTERY-STAPLE"},
        {"X_API_Key": "bob"},
        {"X_API_Key": "bätt\xfcry"},
        {"Authorization": "Bearer nonsense", "X_API_Key": "battery-staple"},
    ],
)
def test_a_wrong_key_is_refused_without_a_word_about_it(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as refused:
        ApiKeys(KEYS).client_of(request_with(**headers))
    assert "invalid_token" in refused.value.challenge
    for value in headers.values():
        assert value.split()[-1] not in refused.value.message


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}, {"X_API_Key": " "}]
)
def test_a_request_without_a_key_is_told_how_to_send_one(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized, match="X-API-Key") as refused:
        ApiKeys(KEYS).client_of(request_with(**headers))
    assert refused.value.challenge == 'Bearer realm="imagequeue"'


def test_every_key_is_compared_in_constant_time_whichever_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    keys = ApiKeys(KEYS)
    for key in ("correct-horse", "battery-staple", "x", "y" * 5000):
        compared.clear()
        with contextlib.suppress(Unauthorized):
            keys.client_of(request_with(X_API_Key=key))
        assert compared == [(32, 32), (32, 32)]


def test_a_dump_of_the_keys_shows_none() -> None:
    keys = ApiKeys(KEYS)
    assert not [key for _, key in KEYS if key in repr(vars(keys))]
