"""What a command says where it cannot do what it was asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can repair, told in one line: the problem, what was expected, what to do."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The words " did you mean 'steps'?" where a known name is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" did you mean {near[0]!r}?" if near else ""
