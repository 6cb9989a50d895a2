"""JSON as its standard has it (RFC 8259): without NaN and Infinity, which Python writes and reads and others refuse."""

from __future__ import annotations

import json
from typing import Any


def dumps(values: Any, **layout: Any) -> str:
    """The values as JSON; ValueError where a number is not finite."""
    return json.dumps(values, allow_nan=False, **layout)


def document(values: Any) -> bytes:
    """The same as a file that people read too: indented, in UTF-8, with a line end."""
    return (dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


def loads(text: str | bytes) -> Any:
    """The values of a JSON text; ValueError where it is none, or has NaN or Infinity."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"it has a number {constant}, expected finite numbers")
