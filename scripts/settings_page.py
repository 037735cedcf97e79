"""Writes docs/settings.md from the table in settings.py; a test holds the page against it."""

from __future__ import annotations

from pathlib import Path

from settings import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

HEAD = """# Settings

Environment variables, or lines `NAME=value` in a file `.env` beside the scripts; the environment wins. A value that
cannot work ends the script with exit code 2 and names the setting. `python run_web_server.py --help` prints this table.
This page is generated (`make docs`).

| name | default | |
|---|---|---|
"""

NOTES = """
KERAS_HOME, Keras's own variable, says where downloaded weights are kept (`~/.keras`).

A `.keras` file in MODEL is served with the preprocessing that is part of the model; if it has none, and was trained on
what an application's `preprocess_input` makes, name that application in MODEL_PREPROCESSING. Its input size goes into
IMAGE_SIZE of the web servers and the workers, its labels, one a line, into a file that MODEL_LABELS names.
"""


def page() -> str:
    rows = "".join(f"| {name} | {default} | {text} |\n" for name, default, text in table())
    return HEAD + rows + NOTES


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
