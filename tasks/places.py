"""The folders of this suite on the machine: prepared data, and caches, which can be deleted."""

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
    """The folder of prepared data and caches: $LRA_HOME, else the user's cache directory. TaskError without either."""
    if given := os.environ.get("LRA_HOME"):
        return named("LRA_HOME", given)
    try:
        folder = user_cache_path("lra")
    except RuntimeError:  # a user without a name or a home, as containers have
        folder = Path("~")
    if not folder.is_absolute():  # older platformdirs return ~ as it is
        raise TaskError("this user has no home directory for prepared data: set LRA_HOME to a writable folder")
    return folder


def named(variable: str, text: str) -> Path:
    """The folder in an environment variable. TaskError for ~ of a user without a home directory."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise TaskError(f"{variable} is {text}: no user of that name has a home: name a folder") from None


def raw_folder() -> Path | None:
    """The folder of raw files in LRA_RAW; None if it is not set. Raises the same errors as `named`."""
    given = os.environ.get("LRA_RAW")
    return named("LRA_RAW", given) if given else None


def cache(name: str) -> Path | None:
    """The writable folder for one kind of cache inside `home`; None if there is none."""
    try:
        place = home() / name
    except TaskError:
        return None
    return place if usable(place) else None


def usable(place: Path) -> bool:
    """Whether the folder is writable. It is created if it is missing."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        return False
    return os.access(place, os.W_OK | os.X_OK)


def settle_matplotlib() -> None:
    """Make Matplotlib keep its font cache inside LRA_HOME, or in a temporary folder, without messages.

    Its messages about its folder of settings do not matter here, since plots have their own settings.
    """
    if os.environ.get("LRA_HOME") and (place := cache("matplotlib")):
        os.environ.setdefault("MPLCONFIGDIR", str(place))
    logging.getLogger("matplotlib").addFilter(_without_settings_folder)


def _without_settings_folder(record: logging.LogRecord) -> bool:
    return not any(words in str(record.msg) for words in ("cache directory", "mkdir -p", "writable directory"))


def passing(name: str) -> Path:
    """A temporary folder that is deleted when this process ends, for libraries that need one."""
    place = tempfile.mkdtemp(prefix=f"lra-{name}-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)
