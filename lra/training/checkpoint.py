"""Named arrays as safetensors files, with a checksum over arrays and facts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from attention_impls.saved import FACTS, checksum
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.model.weights import Weights

WORK = ".work"
"""The folder, inside the folder of results, for files that are not in git."""


class Refused(UserError):
    """A file that cannot be used. `why` follows its path in the message: "is damaged (…)"."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}: train its run again")
        self.why = why


def folder(results: Path, run_id: str) -> Path:
    """The folder of a run's snapshots, best weights and curve."""
    return results / WORK / run_id


def save_atomically(arrays: Weights, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write arrays, and facts about them as plain values, to `path`. A crash leaves the former file intact."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    told = {**(facts or {}), "checksum": checksum(whole, facts or {})}
    write_atomically(save(whole, metadata={FACTS: json.dumps(told, sort_keys=True)}), path)


def load(path: Path) -> Weights:
    """The arrays of a file. Raises the same errors as `read`."""
    return read(path)[0]


def read(path: Path) -> tuple[Weights, dict[str, Any]]:
    """The arrays and the facts of a file. Refused if the file is damaged or not a snapshot."""
    if not path.is_file():
        raise Refused(path, "is not a file")
    if not os.access(path, os.R_OK):  # safetensors would report a missing file
        raise UserError(f"{path} cannot be read: change its permissions")
    arrays, told = _parsed(path)
    if told is None:
        raise Refused(path, "has no checksum: an older version of this program made it (layout 1)")
    if not isinstance(told, dict):
        raise Refused(path, "is damaged (its facts are not a mapping)")
    facts = dict(told)
    if facts.pop("checksum", None) != checksum(arrays, facts):
        raise Refused(path, "is damaged (its checksum does not match)")
    return arrays, facts


def _parsed(path: Path) -> tuple[Weights, Any]:
    """The arrays and facts of a file, unchecked; the facts are None if the file has none."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            text = (file.metadata() or {}).get(FACTS)
        told = None if text is None else json.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}): try again") from error
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # TypeError and AttributeError: NumPy lacks the dtype.
        raise Refused(path, f"is damaged ({' '.join(str(error).split())})") from error
    return arrays, told
