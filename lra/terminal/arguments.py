"""Types of flags that tyro cannot know: how it reads and prints their one word."""

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

Constructor = tyro.constructors.PrimitiveConstructorSpec


def _read_path(text: str) -> Path:
    """No shell expands the ~ of --results=~/x; UserError for the home of nobody."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(f"{text}: there is no such user's home; name a folder, or write ./{text}") from error


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


def named(flag: str) -> Any:
    """A flag that is called otherwise than its field, for words that Python keeps to itself."""
    return tyro.conf.arg(name=flag)


def specs() -> Constructor[Any]:
    """elfatt,softmax@local_conv=true -> mechanisms with options."""
    return _word("NAME[@OPTION=VALUE],…", parse_specs, print_specs)


def numbers(name: str) -> Constructor[Any]:
    """1024,4096 -> whole numbers of at least 1; UserError, which names the flag, for anything else."""

    def read(text: str) -> tuple[int, ...]:
        try:
            found = tuple(int(word) for word in text.split(","))
        except ValueError as error:
            raise UserError(f"--{name} {text}: expected whole numbers with commas between") from error
        if min(found) < 1:
            raise UserError(f"--{name} {text}: expected numbers of at least 1")
        return found

    return _word("N,…", read, _joined)


def words(name: str) -> Constructor[Any]:
    """a,b -> words; UserError where there is none."""
    return _word("NAME,…", lambda text: _words(name, text), _joined)


def backends() -> Constructor[Any]:
    """torch,jax -> the frameworks."""

    def read(text: str) -> tuple[str, ...]:
        found = _words("backend", text)
        for word in found:
            if word not in attention_impls.BACKENDS:
                raise UserError(f"--backend {word}: expected {' or '.join(attention_impls.BACKENDS)}, or both")
        return found

    return _word("torch|jax|torch,jax", read, _joined)


def devices() -> Constructor[Any]:
    """cpu or gpu."""
    return Constructor(
        nargs=1,
        metavar="cpu|gpu",
        instance_from_str=lambda words: read_device(words[0]),
        is_instance=lambda value: value in get_args(Device),
        str_from_instance=lambda value: [value],
    )


def read_device(text: str) -> Device:
    """UserError for every other device."""
    for known in get_args(Device):
        if text == known:
            return known
    raise UserError(f"--device {text}: expected cpu or gpu; a GPU is one with CUDA, no other kind is supported")


def pairs(name: str) -> Constructor[Any]:
    """a:b,a:c -> pairs of words."""

    def read(text: str) -> tuple[tuple[str, str], ...]:
        found = [word.partition(":") for word in _words(name, text)]
        for first, _, second in found:
            if not first or not second or first == second:
                raise UserError(f"--{name} {text}: expected FIRST:SECOND, two different ones, commas between pairs")
        return tuple((first, second) for first, _, second in found)

    return _word("FIRST:SECOND,…", read, lambda value: _joined(":".join(pair) for pair in value))


def changes(name: str) -> Constructor[Any]:
    """option=value,option=value -> options with the values that YAML reads there."""

    def read(text: str) -> tuple[tuple[str, Any], ...]:
        found = [word.partition("=") for word in _words(name, text)]
        for option, equals, _ in found:
            if not option or not equals:
                raise UserError(f"--{name} {text}: expected OPTION=VALUE, commas between")
        return tuple((option, parse_yaml(value, f"--{name} {option}")) for option, _, value in found)

    return _word("OPTION=VALUE,…", read, lambda value: _joined(f"{option}={each}" for option, each in value))


def _words(name: str, text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise UserError(f"--{name} is empty: name one, or several with commas between")
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
