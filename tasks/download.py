"""Downloads through the download manager of tensorflow-datasets: cached, checked, with a progress bar.

It works without TensorFlow and keeps its files where tensorflow-datasets does, so that either finds the other's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.base import Archive, TaskError
from tasks.locks import held
from tasks.places import home, named


def tfds_home() -> Path:
    """Where tensorflow-datasets keeps its data: $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    A user without a home has none, and what is downloaded then goes below LRA_HOME.
    """
    if given := os.environ.get("TFDS_DATA_DIR"):
        return named("TFDS_DATA_DIR", given)
    try:
        return Path("~/tensorflow_datasets").expanduser()
    except RuntimeError:
        return home() / "tensorflow_datasets"


def fetch(archive: Archive, announce: Callable[[str], None] = print) -> Path:
    """The archive's path on this machine, downloaded unless it is here already.

    `announce` is told before anything is transferred. A file of the archive's own name in the downloads' manual/
    folder is checked and taken. What was downloaded in part is dropped. TaskError where there is no network, or where
    the content is not the expected one.
    """
    try:
        from tensorflow_datasets.core import download
    except ImportError:
        raise TaskError(
            f"downloading {archive.url} needs tensorflow-datasets (pip install tensorflow-datasets "
            "importlib_resources): install it, or get the file yourself and name it with --raw"
        ) from None
    downloads = tfds_home() / "downloads"
    if not (kept_copy(archive, downloads) or _by_hand(archive, downloads).exists()):
        announce(f"downloading {archive.url} ({archive.size / 1e6:,.0f} MB) into {downloads}")
    manager = download.DownloadManager(
        download_dir=downloads,
        manual_dir=downloads / "manual",
        url_infos=url_infos(archive),
        dataset_name=archive.dataset,
        force_checksums_validation=True,
    )
    return through(manager, downloads, archive, announce)


def through(manager: Any, downloads: Path, archive: Archive, announce: Callable[[str], None] = print) -> Path:
    """The archive's path by way of a download manager of tensorflow-datasets that keeps its files in `downloads`.

    One process downloads at a time, and a part that an interrupt or a dead connection left is removed.
    """
    import requests
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.resource import get_dl_fname
    from tensorflow_datasets.core.download.util import DownloadError

    downloads.mkdir(parents=True, exist_ok=True)
    partial = get_dl_fname(archive.url)
    with held(downloads / f"{partial}.lock", announce):
        if kept := kept_copy(archive, downloads):
            return kept
        try:
            if not _by_hand(archive, downloads).exists():
                # The manager tries ten times over three minutes; whether there is a network shows at once.
                requests.head(archive.url, allow_redirects=True, timeout=20)
            return Path(manager.download(archive.url))
        except NonMatchingChecksumError:
            raise TaskError(
                f"{archive.url} is not the file expected ({archive.size:,} bytes, sha256 {archive.sha256[:16]}…): "
                "download it again, or name a good copy with --raw"
            ) from None
        except (DownloadError, requests.RequestException) as error:
            raise TaskError(
                f"cannot download {archive.url} ({archive.size / 1e6:,.0f} MB; {_root(error)}): get the file on "
                "another machine and name it with --raw"
            ) from None
        finally:
            for rest in downloads.rglob(f"{partial}.tmp.*"):
                shutil.rmtree(rest, ignore_errors=True)


def kept_copy(archive: Archive, downloads: Path) -> Path | None:
    """What a download manager, of whichever dataset, has downloaded and checked before: its name has the checksum."""
    from tensorflow_datasets.core.download.resource import get_dl_fname

    found = downloads.rglob(get_dl_fname(archive.url, archive.sha256))
    return next((path for path in found if path.is_file()), None)


def _by_hand(archive: Archive, downloads: Path) -> Path:
    return downloads / "manual" / _name(archive)


def url_infos(archive: Archive) -> dict:
    """The archive as the download manager wants to know it."""
    from tensorflow_datasets.core import utils
    from tensorflow_datasets.core.download.checksums import UrlInfo

    return {archive.url: UrlInfo(size=utils.Size(archive.size), checksum=archive.sha256, filename=_name(archive))}


def _name(archive: Archive) -> str:
    return archive.url.rsplit("/", 1)[-1]


def _root(error: BaseException) -> str:
    """The innermost cause: requests wraps a refused connection four times."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason or error).__name__
