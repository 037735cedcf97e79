"""API keys: who asks. Off unless keys are given; then every request but the probes and the page needs one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from werkzeug.sansio.request import Request

from imagequeue.errors import Unauthorized

# RFC 6750, section 3: a request without a key is told the scheme alone, one with a wrong key why it failed.
WRONG_KEY = 'Bearer realm="imagequeue", error="invalid_token"'


class ApiKeys:
    """The keys that are good, kept as digests: neither a traceback nor a dump of this object shows one."""

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        """keys: (name, key) pairs; the name stands in log lines, the key nowhere."""
        self._digests = [(name, _digest(key)) for name, key in keys]

    def client_of(self, request: Request) -> str:
        """The name of the key that the request carries. Raises Unauthorized, without a word about the key."""
        given = _given(request)
        if not given:
            raise Unauthorized("An API key is needed: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        digest = _digest(given)
        found = ""
        # Every key is compared, each in constant time: how long it takes says nothing about how close it was.
        for name, known in self._digests:
            if hmac.compare_digest(digest, known):
                found = name
        if not found:
            raise Unauthorized("This API key is not known here.", challenge=WRONG_KEY)
        return found


def _given(request: Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "").strip()


def _digest(key: str) -> bytes:
    # A header may hold any of latin-1; the digest makes keys of all lengths compare alike.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
