"""Snapshots of a run as safetensors files: written beside and renamed, so a reader sees the old one or the new."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from lra.config import UserError
from lra.init import Weights


def folder(results: Path, run_id: str) -> Path:
    """Where a run keeps its snapshots, its best weights and its curve."""
    return results / ".work" / run_id


def save_atomically(arrays: Weights, path: Path) -> None:
    """Write the arrays to `path`; a crash at any moment leaves the former file whole."""
    write_atomically(save({name: np.asarray(array, order="C") for name, array in arrays.items()}), path)


def load(path: Path) -> Weights:
    """Read the arrays back; a damaged file raises UserError."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): start the run over with --fresh") from error


def write_atomically(content: bytes, path: Path) -> None:
    """Write a file so that it appears complete or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside: Any = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
