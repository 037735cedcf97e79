"""Who owns a job: the job's id itself shows it, so every web server can check it and Redis stores nothing for it.

Where API keys are required, an id is NONCE_LENGTH random digits and a tag, the first digits of an HMAC of them under a
secret made from the owner's API key. So a name cannot be tested against an id, servers with the same API_KEYS agree,
and ids stay valid while the old and the new key of a name are listed together. The tag has 32 bits: an id of somebody
else passes by chance once in four billion, and nobody can try that for an id that he does not know: 96 bits are random.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from imagequeue.job import ID_LENGTH, new_id

TAG_LENGTH = 8
NONCE_LENGTH = ID_LENGTH - TAG_LENGTH
MARK_BYTES = 8
# Whoever finds an id in a log can test guesses of the key against it, in private; each guess is to cost 0.05 s.
ITERATIONS = 100_000


@dataclass(frozen=True)
class Owner:
    """Somebody who sends images. name: of the API key.

    tag_secrets: of each key of that name, the one of the request first. sees_all: every job counts as this owner's.
    """

    name: str
    tag_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    sees_all: bool = False

    @property
    def mark(self) -> bytes:
        """The same for all owners of this name, in all processes."""
        return hashlib.blake2b(self.name.encode(), digest_size=MARK_BYTES).digest()

    def new_id(self) -> str:
        """A job's id, never used before, which this owner is recognized by."""
        if not self.tag_secrets:
            return new_id()
        nonce = secrets.token_hex(NONCE_LENGTH // 2)
        return nonce + _tag(self.tag_secrets[0], nonce)

    def owns(self, job_id: str) -> bool:
        """Whether this owner may see the job. Takes equally long for a job that exists and for one that does not."""
        nonce, tag = job_id[:NONCE_LENGTH], job_id[NONCE_LENGTH:]
        if self.sees_all:
            return True
        # As bytes: text that is not ASCII cannot be compared in constant time.
        return any(hmac.compare_digest(_tag(secret, nonce).encode(), tag.encode()) for secret in self.tag_secrets)


# The owner where no API keys are required: whoever knows an id may ask for the job.
EVERYBODY = Owner(name="", sees_all=True)
# The owner of no job: where keys are required, of a request that needs none.
NOBODY = Owner(name="")


def without_host(process_id: str) -> str:
    """The random end of a process's id, such as `host:pid:random`: for owners whose business the hosts are not."""
    return process_id.rpartition(":")[2][:TAG_LENGTH]


def tag_secret(key_digest: bytes) -> bytes:
    """What the tags of one API key are made with. Takes 0.05 s."""
    return hashlib.pbkdf2_hmac("sha256", key_digest, b"imagequeue: owner of a job", ITERATIONS)


def _tag(secret: bytes, nonce: str) -> str:
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()[:TAG_LENGTH]
