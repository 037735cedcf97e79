"""Text of unknown origin, made safe to show: bounded in length, and without what a terminal would act on.

A label, a reason or a log entry may come from somebody else's program. Its control characters could clear the screen,
change the window's title or answer for the person at the keyboard; its marks for the direction of writing could show
the letters in another order than they have (https://trojansource.codes).
"""

from __future__ import annotations

import json
import re

# C0, DEL and C1; invisible marks; line and paragraph separators; overrides and isolates of the direction of writing;
# halves of surrogate pairs, which no encoding can write.
UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f"
)
_UNSAFE = re.compile(f"[{UNSAFE}]")
_UNSAFE_IN_WORD = re.compile(rf"[\s\"'={UNSAFE}]")


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def escaped(text: object) -> str:
    """`text` for a terminal: what it would act on is written as \\x1b or \\u202e."""
    return _UNSAFE.sub(_code, str(text))


def one_word(text: object) -> str:
    """As `escaped`, and without anything that ends a word of a log line."""
    return _UNSAFE_IN_WORD.sub(_code, str(text)) or "-"


def quoted(value: object, *, default: type[str] | None = None) -> str:
    """JSON of nothing but printable ASCII. default: how other types are written; without it they raise TypeError."""
    # JSON allows DEL as it is; it can occur only in a string.
    return json.dumps(value, default=default).replace("\x7f", "\\u007f")


def shortened(value: object, limit: int) -> object:
    """`value` itself, or its first `limit` characters and how many more there were: `GET…+3400`."""
    if value is None or isinstance(value, bool | float):
        return value
    if type(value) is int and abs(value) < 10**18:
        return value
    text = str(value)
    return value if len(text) <= limit else f"{text[:limit]}…+{len(text) - limit}"


def shortened_middle(text: str, limit: int) -> str:
    """The first quarter and the last three of a text that is longer than `limit`: a traceback's end says most."""
    if len(text) <= limit:
        return text
    head, tail = limit // 4, limit - limit // 4
    return f"{text[:head]}…+{len(text) - limit}…{text[-tail:]}"
