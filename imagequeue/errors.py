"""Everything that can go wrong, as one tree; a view raises, one error handler answers.

    ImageQueueError
    ├── ConfigurationError            a setting, a file or a model that cannot work: the script ends with 2
    │   └── WeightsMissing
    ├── ClientError                   the request is at fault: the same request will fail again
    │   ├── BadRequest        400
    │   ├── NotFound          404
    │   ├── TooSlow           408
    │   ├── Cancelled         409     somebody gave the job up: DELETE /jobs/<id>
    │   ├── TooLarge          413
    │   ├── Unsupported       415
    │   ├── Misdirected       421     for a Host that is not this server's
    │   ├── BadImage          422
    │   ├── TooMany           429
    │   ├── ClientGone        499     it hung up before its answer came
    │   └── Unauthorized      401
    ├── Unavailable           503     not now: the same request may succeed after `retry_after` seconds
    │   ├── QueueFull
    │   ├── NoWorkers
    │   ├── RedisDown
    │   │   ├── NoConnection  every connection that this process may have is in use: nothing was sent
    │   │   └── RedisSilent   no answer came: what was asked for may have been done, or not
    │   ├── JobLost               Redis forgot an accepted job: it was restarted without its data
    │   └── ServerBusy
    ├── DeadlineExceeded      504
    ├── JobFailed             500     the model raised on this image, or was killed by it
    ├── Fenced                        a worker's lease has ended and its jobs were given to others
    └── ModelWrong                    a worker's model answers otherwise than at its start: it must not answer at all

The HTTP status and the machine-readable code stand on the class, the facts on the instance.
"""

from __future__ import annotations

from typing import ClassVar


class ImageQueueError(Exception):
    """The root; `message` is written for the person who has to act on it."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(ImageQueueError):
    """A setting, a file or a model that cannot work on this machine; scripts print it and end with 2."""

    code = "configuration"


class WeightsMissing(ConfigurationError):
    """The model's weights, or the labels that go with them, are neither here nor to be downloaded."""

    # Of `run_model_server.py --fetch`, by which its caller tells this from a setting that cannot work.
    exit_of_fetch: ClassVar[int] = 3


class ClientError(ImageQueueError):
    status = 400
    code = "bad_request"


class BadRequest(ClientError):
    pass


class NotFound(ClientError):
    status = 404
    code = "not_found"


class Cancelled(ClientError):
    status = 409
    code = "cancelled"


class TooSlow(ClientError):
    status = 408
    code = "too_slow"


class TooLarge(ClientError):
    status = 413
    code = "too_large"


class Unsupported(ClientError):
    status = 415
    code = "unsupported_type"


class Misdirected(ClientError):
    status = 421
    code = "wrong_host"


class BadImage(ClientError):
    status = 422
    code = "bad_image"


class TooMany(ClientError):
    status = 429
    code = "too_many_requests"


class ClientGone(ClientError):
    # nginx's number for it; HTTP has none, because as a rule nobody is there to be told.
    status = 499
    code = "client_gone"


class Unauthorized(ClientError):
    """`challenge`: what WWW-Authenticate says (RFC 6750)."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str, challenge: str = 'Bearer realm="imagequeue"') -> None:
        super().__init__(message)
        self.challenge = challenge


class Unavailable(ImageQueueError):
    """`retry_after`: whole seconds after which a repeat is likely to succeed."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Unavailable):
    code = "queue_full"


class NoWorkers(Unavailable):
    code = "no_workers"


class RedisDown(Unavailable):
    code = "redis_down"


class RedisSilent(RedisDown):
    pass


class NoConnection(RedisDown):
    code = "redis_busy"


class ServerBusy(Unavailable):
    code = "server_busy"


class JobLost(Unavailable):
    code = "job_lost"


class DeadlineExceeded(ImageQueueError):
    status = 504
    code = "deadline_exceeded"


class JobFailed(ImageQueueError):
    code = "job_failed"


class Fenced(ImageQueueError):
    code = "fenced"


class ModelWrong(ImageQueueError):
    code = "model_wrong"


def from_code(code: str, message: str) -> ImageQueueError:
    """The error that a worker or a script wrote into a result's envelope, as an exception to raise."""
    for error in (DeadlineExceeded, JobLost, Cancelled):
        if code == error.code:
            return error(message)
    return JobFailed(message)


def without_frames(error: ImageQueueError) -> ImageQueueError:
    """The error without the frames it passed through: they hold the image, and with the answer form a cycle."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
