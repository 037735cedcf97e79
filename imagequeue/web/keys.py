"""API keys: who asks. Off unless keys are given; then every request but the probes and the page needs one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from werkzeug.sansio.request import Request

from imagequeue.errors import Unauthorized
from imagequeue.web.owner import Owner, tag_secret

# RFC 6750, section 3: a request without a key is told the scheme alone, one with a wrong key why it failed.
WRONG_KEY = 'Bearer realm="imagequeue", error="invalid_token"'


class WrongKey(Unauthorized):
    """A key was sent, and it is not one of the good ones."""

    def __init__(self) -> None:
        super().__init__("This API key is not known here.", challenge=WRONG_KEY)


class ApiKeys:
    """The keys that are good, kept as digests: neither a traceback nor a dump of this object shows one."""

    def __init__(self, keys: Sequence[tuple[str, str]], *, admins: Sequence[str] = ()) -> None:
        """keys: (name, key) pairs; the name stands in log lines, the key nowhere. Keys of one name are one owner.

        admins: the names whose keys see every job.
        """
        self._digests = [(name, _digest(key)) for name, key in keys]
        self._admins = frozenset(admins)
        # By the digest of the request's key; each is made at its first use, for it takes a moment.
        self._owners: dict[bytes, Owner] = {}

    def client_of(self, request: Request) -> str:
        """The name of the key that the request carries. Raises Unauthorized, without a word about the key."""
        return self._known(request)[0]

    def owner_of(self, request: Request) -> Owner:
        """The owner of the jobs that the request sends, and of those that it may see. Raises Unauthorized."""
        name, digest = self._known(request)
        owner = self._owners.get(digest)
        if owner is None:
            others = [known for other, known in self._digests if other == name and known != digest]
            tag_secrets = tuple(tag_secret(known) for known in (digest, *others))
            owner = self._owners[digest] = Owner(name, tag_secrets, sees_all=name in self._admins)
        return owner

    def _known(self, request: Request) -> tuple[str, bytes]:
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
            raise WrongKey
        return found, digest


def _given(request: Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "").strip()


def _digest(key: str) -> bytes:
    # A header may hold any of latin-1; the digest makes keys of all lengths compare alike.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
