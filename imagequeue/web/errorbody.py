"""How an error is written down, in the format of whoever asked."""

from __future__ import annotations

from typing import Any

# TensorFlow Serving's and the Open Inference Protocol's clients look for a sentence under `error`.
PLAIN_ERRORS = ("/v1/", "/v2")


def error_document(path: str, code: str, message: str, id: str) -> dict[str, Any]:
    """The JSON of an error. path: the request's, which tells the format. id: of the job, or of the request."""
    if path.startswith(PLAIN_ERRORS):
        return {"error": message}
    return {"success": False, "error": {"code": code, "message": message}, "id": id}
