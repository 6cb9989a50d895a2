"""What one run leaves behind: a flat JSON file that says how it was made and how to make it again."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import dacite

from lra.checkpoint import write_new
from lra.config import BackendName, Run, UserError
from lra.history import COLUMNS

SCHEMA = 1
CLEAR = 3.0  # standard errors that a difference needs to be called one


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run. Accuracies are fractions of all examples of their split."""

    schema: int
    """Version of this layout."""
    run_id: str
    """Hash of data, mechanism, configuration, seed and backend."""
    task: str
    task_version: int
    data: str
    """Which data, in the words of the tables ("16×16, contour 5")."""
    data_hash: str
    attn: str
    options: dict[str, Any]
    """The mechanism's options."""
    backend: BackendName
    preset: str
    seed: int
    config: dict[str, Any]
    """The whole resolved configuration; `run_lra.py --config <record>` runs it again."""
    test_accuracy: float
    """At the step of the best validation accuracy."""
    test_accuracy_last: float
    """At the last step."""
    test_examples: int
    validation_accuracy: float
    """The best one."""
    validation: str
    """Where the validation examples come from."""
    best_step: int
    references: dict[str, float]
    """Test accuracy of rules that need no learning, on this very data."""
    curve: list[dict[str, int | float]]
    """One entry an evaluation: its step, loss and accuracy in training since the last one, and on validation."""
    parameters: int
    seconds: float
    """Training alone, without data, evaluation and the first call, in which a framework compiles."""
    evaluation_seconds: float
    steps_per_second: float
    samples_per_second: float
    peak_memory_bytes: int
    environment: dict[str, Any]
    git: dict[str, Any]
    command: str
    """Makes this record again."""
    first_steps_after: float | None = None
    """Seconds from the start of the process that ended the run to the end of its first chunk of steps: what it took to
    load, compile and, where they were not there, make the data. None in records from before it was noted."""

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the test accuracy."""
        return standard_error(self.test_accuracy, self.test_examples)

    @property
    def at_chance(self) -> bool:
        """Whether the test accuracy is within three standard errors of guessing, or below."""
        chance = self.references["chance"]
        return self.test_accuracy < chance + CLEAR * standard_error(chance, self.test_examples)


def standard_error(accuracy: float, examples: int) -> float:
    """√(p(1 − p)/n): how far a test accuracy would wander with another test set of that size."""
    return math.sqrt(accuracy * (1 - accuracy) / examples)


def save(record: Record, results: Path) -> Path:
    """Write the record under results/runs and return its path; no earlier record is overwritten."""
    content = json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n"
    return write_new(content.encode(), results / "runs" / f"{name(record, record.run_id)}.json")


def newest(results: Path, run: Run, since: float) -> Record:
    """The last record of this task, mechanism, backend, preset and seed, written at or after the time `since`."""
    written = [path for path in (results / "runs").glob(f"{_stem(run)}-*.json") if path.stat().st_mtime >= since - 1]
    if not written:
        raise UserError(f"no new record {_stem(run)}-*.json in {results / 'runs'}: was it deleted?")
    return load(max(written, key=lambda path: path.stat().st_mtime))


def name(run: Run | Record, run_id: str) -> str:
    """What a run's files are called: task, mechanism, backend, preset, seed and the beginning of its id."""
    return f"{_stem(run)}-{run_id[:8]}"


def _stem(run: Run | Record) -> str:
    attn = Path(run.attn).name  # a mechanism from outside is given as a path
    return f"{run.task}-{attn}-{run.backend}-{run.preset}-s{run.seed}"


def load(path: Path) -> Record:
    """Read a record back; a file of another layout raises UserError."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no record: {error}") from error
    known = {field.name for field in fields(Record)}
    needed = {field.name for field in fields(Record) if field.default is MISSING}
    if not isinstance(values, dict) or not needed <= set(values) <= known or values["schema"] != SCHEMA:
        raise UserError(f"{path} is no record of schema {SCHEMA}: expected the fields {', '.join(sorted(needed))}")
    try:
        record = dacite.from_dict(Record, values, dacite.Config(strict=True))
    except dacite.DaciteError as error:
        raise UserError(f"{path} is no record: {error}") from error
    if fault := _fault(record):
        raise UserError(f"{path} is no record: {fault}")
    return record


def _fault(record: Record) -> str:
    """What the tables and plots would miss in a record whose fields have the right types; empty for nothing."""
    if missing := [part for part in ("data", "options", "model", "train") if part not in record.config]:
        return f"config has no {', '.join(missing)}"
    if "chance" not in record.references:
        return "references has no chance"
    short = next((point for point in record.curve if not set(COLUMNS) <= set(point)), None)
    return "" if short is None else f"a point of curve is {short}, expected {', '.join(COLUMNS)}"
