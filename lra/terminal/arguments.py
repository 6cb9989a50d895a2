"""Types of flags that tyro does not have: how their one word is read and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

import attention_impls
from lra.core.documents import parse_yaml
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.spec import parse_specs, print_specs

DIGITS = 18  # at most, of a number that `whole` reads; Python refuses to read thousands
Constructor = tyro.constructors.PrimitiveConstructorSpec


def _read_path(text: str) -> Path:
    """A path with ~ expanded, which shells do not do in --results=~/x. UserError if the user does not exist."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(f"{text}: no user of that name has a home: name a folder, or write ./{text}") from error


Number = Annotated[int, tyro.conf.arg(metavar="INT")]
Where = Annotated[
    Path,
    Constructor(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: _read_path(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    ),
]


def whole(text: str) -> int | None:
    """The number that a text of decimal digits stands for; None for other text or too many digits."""
    return int(text) if text.isdecimal() and len(text) <= DIGITS else None


def named(flag: str) -> Any:
    """A flag whose name differs from its field's, for reserved words of Python."""
    return tyro.conf.arg(name=flag)


def specs() -> Constructor[Any]:
    """Read mechanisms with options, such as elfatt,softmax@local_conv=true."""
    return _word("NAME[@OPTION=VALUE],…", parse_specs, print_specs)


def numbers(name: str) -> Constructor[Any]:
    """Read whole numbers of at least 1, such as 1024,4096. UserError names the flag."""

    def read(text: str) -> tuple[int, ...]:
        try:
            found = tuple(int(word) for word in text.split(","))
        except ValueError as error:
            raise UserError(f"--{name} {text}: expected whole numbers separated by commas") from error
        if min(found) < 1:
            raise UserError(f"--{name} {text}: expected numbers of at least 1")
        return found

    return _word("N,…", read, _joined)


def words(name: str) -> Constructor[Any]:
    """Read words, such as a,b. UserError if there is none."""
    return _word("NAME,…", lambda text: _words(name, text), _joined)


def backends() -> Constructor[Any]:
    """Read frameworks, such as torch,jax."""

    def read(text: str) -> tuple[str, ...]:
        found = _words("backend", text)
        for word in found:
            if word not in attention_impls.BACKENDS:
                raise UserError(f"--backend {word}: expected {' or '.join(attention_impls.BACKENDS)}, or both")
        return found

    return _word("torch|jax|torch,jax", read, _joined)


def devices() -> Constructor[Any]:
    """Read cpu or gpu."""
    return Constructor(
        nargs=1,
        metavar="cpu|gpu",
        instance_from_str=lambda words: read_device(words[0]),
        is_instance=lambda value: value in get_args(Device),
        str_from_instance=lambda value: [value],
    )


def read_device(text: str) -> Device:
    """Raise UserError for any other device."""
    for known in get_args(Device):
        if text == known:
            return known
    raise UserError(f"--device {text}: expected cpu or gpu (only GPUs with CUDA are supported)")


def pairs(name: str) -> Constructor[Any]:
    """Read pairs of words, such as a:b,a:c."""

    def read(text: str) -> tuple[tuple[str, str], ...]:
        found = [word.partition(":") for word in _words(name, text)]
        for first, _, second in found:
            if not first or not second or first == second:
                raise UserError(f"--{name} {text}: expected FIRST:SECOND, two different names; commas between pairs")
        return tuple((first, second) for first, _, second in found)

    return _word("FIRST:SECOND,…", read, lambda value: _joined(":".join(pair) for pair in value))


def changes(name: str) -> Constructor[Any]:
    """Read options and their YAML values, such as option=value,option=value."""

    def read(text: str) -> tuple[tuple[str, Any], ...]:
        found = [word.partition("=") for word in _words(name, text)]
        for option, equals, _ in found:
            if not option or not equals:
                raise UserError(f"--{name} {text}: expected OPTION=VALUE, separated by commas")
        return tuple((option, parse_yaml(value, f"--{name} {option}")) for option, _, value in found)

    return _word("OPTION=VALUE,…", read, lambda value: _joined(f"{option}={each}" for option, each in value))


def _words(name: str, text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise UserError(f"--{name} is empty: name one, or several separated by commas")
    return words


def _joined(values: Iterable[Any]) -> str:
    return ",".join(map(str, values))


def _word(metavar: str, read: Callable[[str], Any], write: Callable[[Any], str]) -> Constructor[Any]:
    return Constructor(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: read(words[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [write(value)],
    )
