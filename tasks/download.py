"""Downloads by the download manager of tensorflow-datasets: cached, checked, with a progress bar.

It needs no TensorFlow. Files are kept in the folder of tensorflow-datasets, so that both share them.
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
    """The data folder of tensorflow-datasets: $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    None for a user without a home directory; downloads then go into LRA_HOME.
    """
    if given := os.environ.get("TFDS_DATA_DIR"):
        return named("TFDS_DATA_DIR", given)
    try:
        return Path("~/tensorflow_datasets").expanduser()
    except RuntimeError:
        return home() / "tensorflow_datasets"


def fetch(archive: Archive, announce: Callable[[str], None] = print) -> Path:
    """The path of the archive, which is downloaded unless it is there already.

    `announce` is called before a transfer. A file with the archive's name in the folder manual/ of the downloads is
    checked and used. Partial downloads are deleted.

    Raises:
        TaskError: There is no network, or the content is not the expected one.
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
    """The path of the archive, by a download manager of tensorflow-datasets with its files in `downloads`.

    One process downloads at a time. Partial downloads after an interruption are removed.
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
                # The manager tries ten times during three minutes, but a missing network is known at once.
                requests.head(archive.url, allow_redirects=True, timeout=20)
            return Path(manager.download(archive.url))
        except NonMatchingChecksumError:
            raise TaskError(
                f"{archive.url} is not the expected file ({archive.size:,} bytes, sha256 {archive.sha256[:16]}…): "
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
    """An earlier download of any data set, recognised by the checksum in its name."""
    from tensorflow_datasets.core.download.resource import get_dl_fname

    found = downloads.rglob(get_dl_fname(archive.url, archive.sha256))
    return next((path for path in found if path.is_file()), None)


def _by_hand(archive: Archive, downloads: Path) -> Path:
    return downloads / "manual" / _name(archive)


def url_infos(archive: Archive) -> dict:
    """The archive's checksum information for the download manager."""
    from tensorflow_datasets.core import utils
    from tensorflow_datasets.core.download.checksums import UrlInfo

    return {archive.url: UrlInfo(size=utils.Size(archive.size), checksum=archive.sha256, filename=_name(archive))}


def _name(archive: Archive) -> str:
    return archive.url.rsplit("/", 1)[-1]


def _root(error: BaseException) -> str:
    """The innermost cause: requests wraps a refused connection four times."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason or error).__name__
