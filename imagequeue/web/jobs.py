"""/jobs/<id>: what became of an image that was sent with `Prefer: respond-async`."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, jsonify

from imagequeue import jobstate
from imagequeue.errors import NotFound
from imagequeue.events import log
from imagequeue.job import ID_LENGTH
from imagequeue.jobstate import JobState
from imagequeue.web import exchange
from imagequeue.web.predict import describe, error_body

# How long a client that asks again and again should wait in between, seconds.
ASK_AGAIN_AFTER = 1
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}", re.ASCII)

blueprint = Blueprint("jobs", __name__)


@blueprint.get("/jobs/<job_id>")
def show(job_id: str) -> Response:
    """Whether the job is waiting, claimed, done or failed; with its result once there is one."""
    return _answer(jobstate.look_at(exchange.classifier().queue, _owned(job_id)))


@blueprint.delete("/jobs/<job_id>")
def cancel(job_id: str) -> Response:
    """Cancel the job, and say how it stands now: one that has its result already keeps it."""
    state = jobstate.cancel(exchange.classifier().queue, _owned(job_id))
    log("cancelled", job=job_id, state=state.state, **exchange.request_fields())
    return _answer(state)


def checked(job_id: str) -> str:
    """`job_id` itself. Raises NotFound for what was never one."""
    if not _ID.fullmatch(job_id):
        raise NotFound(f"A job's id is {ID_LENGTH} hexadecimal digits.")
    return job_id


def _owned(job_id: str) -> str:
    """`job_id` itself. Raises NotFound for a job of somebody else, as for one that does not exist, and as fast."""
    if not exchange.owner().owns(checked(job_id)):
        raise NotFound(jobstate.UNKNOWN)
    return job_id


def _answer(state: JobState) -> Response:
    body: dict[str, Any] = {"success": True, "id": state.id, "state": state.state}
    if state.result is not None and state.result.error is not None:
        body |= {"success": False, "error": error_body(state.result.error)}
    elif state.result is not None:
        body |= describe(state.result)
    response = jsonify(body)
    if state.result is None:
        response.headers["Retry-After"] = str(ASK_AGAIN_AFTER)
    return response
