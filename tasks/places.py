"""Where this machine keeps what is ours: prepared data, and caches, which every command can do without."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from tasks.base import TaskError


def home() -> Path:
    """Where prepared data and caches lie: $LRA_HOME, else the user's cache directory; TaskError where neither is."""
    if given := os.environ.get("LRA_HOME"):
        return named("LRA_HOME", given)
    try:
        return user_cache_path("lra")
    except RuntimeError:  # a user without a name or a home, as containers have
        raise TaskError(
            "this user has no home for prepared data: set LRA_HOME to a folder that can be written"
        ) from None


def named(variable: str, text: str) -> Path:
    """The folder that an environment variable names; TaskError for ~ of a user who has no home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise TaskError(f"{variable} is {text}: there is no such user's home; name a folder") from None


def raw_folder() -> Path | None:
    """The user's own raw files as LRA_RAW names them, None where it is not set; TaskError as `named`."""
    given = os.environ.get("LRA_RAW")
    return named("LRA_RAW", given) if given else None


def cache(name: str) -> Path | None:
    """The folder for one kind of cache below `home`, which can be written; None where there is none."""
    try:
        place = home() / name
    except TaskError:
        return None
    return place if usable(place) else None


def usable(place: Path) -> bool:
    """Whether files can be kept in that folder, which is made where it is missing."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        return False
    return os.access(place, os.W_OK | os.X_OK)


def settle_matplotlib() -> None:
    """Let Matplotlib, when it is imported, keep its fonts below LRA_HOME, or nowhere without a word about it.

    What it says of its folder of settings concerns nobody: pictures here have settings of their own.
    """
    if os.environ.get("LRA_HOME") and (place := cache("matplotlib")):
        os.environ.setdefault("MPLCONFIGDIR", str(place))
    logging.getLogger("matplotlib").addFilter(_without_settings_folder)


def _without_settings_folder(record: logging.LogRecord) -> bool:
    return not any(words in str(record.msg) for words in ("cache directory", "mkdir -p", "writable directory"))


def passing(name: str) -> Path:
    """A folder that this process's end deletes, for a program that insists on one."""
    place = tempfile.mkdtemp(prefix=f"lra-{name}-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)
