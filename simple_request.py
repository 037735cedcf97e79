"""Classify images: `python simple_request.py photo.jpg`; without a file, a picture that comes with the project.

Prints the labels, best first. Exit 1: the server is away, refuses, or a file cannot be read. A refused image is
tried again when the server asks for it (503 with Retry-After).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import logutil
from imagequeue.client import DEFAULT_URL, Answer, Client, ServerAway
from imagequeue.errors import ImageQueueError
from imagequeue.logstream import LogStream
from settings import load_or_exit

SAMPLE = Path(__file__).with_name("samples") / "crossword.png"


def show(answer: Answer) -> None:
    for rank, prediction in enumerate(answer.predictions, start=1):
        print(f"{rank}. {prediction.label}: {prediction.probability:.4f}")
    if answer.weights == "random":
        print("   (random weights: the labels mean nothing)")


def classify(client: Client, file: Path, top: int | None) -> bool:
    """Send one file and print its labels; False, with a line on standard error, if there are none."""
    try:
        answer = client.predict(file, top=top)
    except OSError as error:
        print(f"{file}: {error.strerror or error}", file=sys.stderr)
        return False
    except ServerAway as error:
        print(f"{error.message} Is it running? `make serve` starts it.", file=sys.stderr)
        return False
    except ImageQueueError as error:
        logutil.warn("refused", file=file, code=error.code, reason=error.message)
        print(f"{file}: {error.message}", file=sys.stderr)
        return False
    logutil.log("answered", job=answer.id, file=file, label=answer.predictions[0].label)
    show(answer)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="images; a sample picture if none is named")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's address ({DEFAULT_URL})")
    parser.add_argument("--top", type=int, help="how many labels (5)")
    parser.add_argument("--api-key", metavar="KEY", help="rather in IMAGEQUEUE_API_KEY: others see a command line")
    arguments = parser.parse_args()
    settings = load_or_exit()
    logutil.configure(
        server=settings.server_name,
        level=settings.log_level,
        format=settings.log_format,
        directory=settings.log_dir,
        # What happened is printed below for a person; the log is for files.
        terminal_level="error",
        stream=LogStream(settings.redis_url, settings.image_queue) if settings.log_redis else None,
    )
    files = arguments.files or [SAMPLE]
    is_good = True
    with Client(arguments.url, api_key=arguments.api_key or settings.imagequeue_api_key) as client:
        for file in files:
            if len(files) > 1 or not arguments.files:
                print(f"{file}:")
            is_good &= classify(client, file, arguments.top)
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
