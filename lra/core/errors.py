"""What a command says where it cannot do what it was asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1200  # characters of an error; what it quotes may have any number


class UserError(Exception):
    """Something the user can repair, told in one line: the problem, what was expected, what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text))


def shortened(text: str) -> str:
    """The text without its middle where it is longer than people read."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} … {text[-250:]}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The words " did you mean 'steps'?" where a known name is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" did you mean {near[0]!r}?" if near else ""
