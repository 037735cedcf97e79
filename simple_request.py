"""Classify images: `python simple_request.py photo.jpg`; without a file, a picture that comes with the project.

Prints the labels, best first, with a bar for each on a terminal; with --json one object for each file. Exit 1: the
server is away, refuses, or a file cannot be read. A refused image is tried again when the server asks for it (503 with
Retry-After).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import logutil
from imagequeue.client import DEFAULT_URL, Answer, Client, ServerAway
from imagequeue.errors import ImageQueueError
from imagequeue.logstream import LogStream
from imagequeue.plaintext import escaped, quoted
from settings import load_or_exit

SAMPLE = Path(__file__).with_name("samples") / "crossword.png"
BAR = 30
# An eighth of a character each.
EIGHTHS = " ▏▎▍▌▋▊▉"


def show(answer: Answer, has_bars: bool) -> None:
    # The server may be anybody's.
    labels = [escaped(prediction.label) for prediction in answer.predictions]
    widest = max(map(len, labels))
    for rank, (label, prediction) in enumerate(zip(labels, answer.predictions, strict=True), start=1):
        line = f"{rank}. {label}: {prediction.probability:.4f}"
        print(f"{line.ljust(widest + len('1. : 0.0000') + 1)} {bar(prediction.probability)}" if has_bars else line)
    if answer.weights == "random":
        print("   (random weights: the labels mean nothing)")


def bar(share: float) -> str:
    whole, eighths = divmod(round(min(1.0, share) * BAR * 8), 8)
    return ("█" * whole + EIGHTHS[eighths]).rstrip()


def as_json(file: Path, answer: Answer) -> str:
    predictions = [{"label": p.label, "probability": p.probability} for p in answer.predictions]
    told = {"file": str(file), "id": answer.id, "predictions": predictions, "model": answer.model}
    return quoted(told | ({"weights": answer.weights} if answer.weights else {}) | {"timing": dict(answer.timing)})


def refused(file: Path, code: str, message: str, is_json: bool) -> None:
    """Say on standard error why a file has no labels; with --json on standard output too, in the file's place."""
    print(escaped(message), file=sys.stderr)
    if is_json:
        print(quoted({"file": str(file), "error": {"code": code, "message": message}}))


def classify(client: Client, file: Path, top: int | None, is_json: bool = False) -> bool:
    """Send one file and print its labels; False, with a line on standard error, if there are none."""
    try:
        answer = client.predict(file, top=top)
    except OSError as error:
        refused(file, "unreadable", f"{file}: {error.strerror or error}", is_json)
        return False
    except ServerAway as error:
        refused(file, error.code, f"{error.message} Is it running? `make serve` starts it.", is_json)
        return False
    except ImageQueueError as error:
        logutil.warn("refused", file=file, code=error.code, reason=error.message)
        refused(file, error.code, f"{file}: {error.message}", is_json)
        return False
    logutil.log("answered", job=answer.id, file=file, label=answer.predictions[0].label)
    if is_json:
        print(as_json(file, answer))
    else:
        show(answer, has_bars=sys.stdout.isatty())
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="images; a sample picture if none is named")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's address ({DEFAULT_URL})")
    parser.add_argument("--top", type=int, help="how many labels (5)")
    parser.add_argument("--json", action="store_true", help="one JSON object for each file, in their order")
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
            if (len(files) > 1 or not arguments.files) and not arguments.json:
                print(f"{escaped(file)}:")
            is_good &= classify(client, file, arguments.top, arguments.json)
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
