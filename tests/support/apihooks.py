"""What Schemathesis must be told: images are what no schema can describe, so it is given some. Loaded by its hooks."""

from __future__ import annotations

import base64

import schemathesis
from hypothesis import strategies as st

from tests.support.pictures import HAS_HEIC, picture

FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP"}
FORMATS |= {"tiff": "TIFF", "jp2": "JPEG2000", "avif": "AVIF"}
FILES = {f"image/{name}": [picture(n, format=format) for n in range(2)] for name, format in FORMATS.items()}
ANY = [file for files in FILES.values() for file in files]

# Where it cannot be read, it is refused as the schema says.
FILES["image/heic"] = [picture(2, format="HEIC")] if HAS_HEIC else FILES["image/avif"]
for kind, files in FILES.items():
    schemathesis.openapi.media_type(kind, st.sampled_from(files))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(ANY))
schemathesis.openapi.format("binary", st.sampled_from(ANY))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(file).decode() for file in ANY]))
