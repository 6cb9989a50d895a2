"""Named arrays as safetensors files, with a checksum over all that they say."""

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
"""The folder of results that holds what is not in git."""


class Refused(UserError):
    """A file that is not what it should be. `why` goes on after its path: "is damaged (…)"."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}: train its run again")
        self.why = why


def folder(results: Path, run_id: str) -> Path:
    """Where a run keeps its snapshots, its best weights and its curve."""
    return results / WORK / run_id


def save_atomically(arrays: Weights, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write the arrays and facts about them, plain values, to `path`; a crash leaves the former file whole."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    told = {**(facts or {}), "checksum": checksum(whole, facts or {})}
    write_atomically(save(whole, metadata={FACTS: json.dumps(told, sort_keys=True)}), path)


def load(path: Path) -> Weights:
    """The arrays of a file; raises what `read` raises."""
    return read(path)[0]


def read(path: Path) -> tuple[Weights, dict[str, Any]]:
    """The arrays of a file and the facts about them; Refused where they are not what was written."""
    if not path.is_file():
        raise Refused(path, "is not a file")
    if not os.access(path, os.R_OK):  # of which safetensors would say that there is no such file
        raise UserError(f"{path} cannot be read: change its permissions")
    arrays, told = _parsed(path)
    if told is None:
        raise Refused(path, "has no checksum: an older version of this program made it (layout 1)")
    if not isinstance(told, dict):
        raise Refused(path, "is damaged (what it says of itself is no mapping)")
    facts = dict(told)
    if facts.pop("checksum", None) != checksum(arrays, facts):
        raise Refused(path, "is damaged (its checksum does not fit its content)")
    return arrays, facts


def _parsed(path: Path) -> tuple[Weights, Any]:
    """What stands in a file, whatever it is; None for facts that it does not have."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            text = (file.metadata() or {}).get(FACTS)
        told = None if text is None else json.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}): try again") from error
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # TypeError and AttributeError: a dtype that NumPy does not have.
        raise Refused(path, f"is damaged ({' '.join(str(error).split())})") from error
    return arrays, told
