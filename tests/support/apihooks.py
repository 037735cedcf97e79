"""What Schemathesis must be told: images are what no schema can describe, so it is given some. Loaded by its hooks."""

from __future__ import annotations

import base64

import schemathesis
from hypothesis import strategies as st

from tests.support.pictures import picture

FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP"}
FILES = {f"image/{name}": [picture(n, format=format) for n in range(2)] for name, format in FORMATS.items()}
ANY = [file for files in FILES.values() for file in files]

for kind, files in FILES.items():
    schemathesis.openapi.media_type(kind, st.sampled_from(files))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(ANY))
schemathesis.openapi.format("binary", st.sampled_from(ANY))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(file).decode() for file in ANY]))
