"""The record of one run: a flat JSON file with its results, and everything that is needed to repeat the run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Interval, MaxLen, MinLen

from attention_impls.ranges import shown
from attention_impls.saved import record_checksum
from lra.core.config import BackendName, Run, Seed, Steps
from lra.core.documents import json_document, read_json
from lra.core.errors import UserError
from lra.core.files import write_new
from lra.core.layout import Count, Holds, Line, Matches, Whole, built
from lra.core.markup import in_path
from lra.core.tuning import require_spelled
from lra.terminal.console import left_out
from lra.training.history import FIRST_STEPS, Fraction, Point
from lra.training.parts import Configuration, Git, RunEnvironment

SCHEMA = 2
SCHEMAS = tuple(range(1, SCHEMA + 1))
CLEAR = 3.0  # standard errors by which an accuracy must exceed chance
Seconds = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run. Accuracies are fractions of all examples of their split.

    Fields with a default came with schema 2. A record of schema 1 has the default there.
    """

    schema: Annotated[int, Interval(ge=1, le=SCHEMA)]
    """Version of the record's layout."""
    run_id: Annotated[str, Matches("[0-9a-f]{12}")]
    """Hash of data, mechanism, configuration, seed, backend and revisions."""
    task: Line
    task_version: Count
    data: Line
    """The data, described as in the tables ("16×16, contour 5")."""
    data_hash: Line
    attn: Line
    options: dict[str, Any]
    """The mechanism's options."""
    backend: BackendName
    preset: Line
    seed: Seed
    config: Annotated[dict[str, Any], Holds(Configuration)]
    """The whole resolved configuration. `run_lra.py --config <record>` repeats the run."""
    test_accuracy: Fraction
    """Test accuracy at the step of the best validation accuracy."""
    test_accuracy_last: Fraction
    """Test accuracy at the last step."""
    test_examples: Count
    validation_accuracy: Fraction
    """The best validation accuracy."""
    validation: Line
    """The source of the validation examples."""
    best_step: Steps
    references: dict[Line, Fraction]
    """Test accuracy of rules without learning, on the same data."""
    curve: Annotated[list[Point], MinLen(1)]
    """One entry per evaluation: step, training loss and accuracy since the previous one, and validation scores."""
    parameters: Whole
    seconds: Seconds
    """Seconds of training, without data, evaluations, stops and the first call, in which a framework compiles."""
    evaluation_seconds: Seconds
    """Seconds of evaluations on the validation split, without stops."""
    steps_per_second: Seconds
    samples_per_second: Seconds
    peak_memory_bytes: Whole
    environment: Annotated[dict[str, Any], Holds(RunEnvironment)]
    git: Annotated[dict[str, Any], Holds(Git)]
    """The commit, and whether the checkout was clean. If git could not tell, `why` has the reason."""
    command: str
    """The command that repeats the run."""
    first_steps_after: Seconds | None = None
    """Seconds from the start of the last process to the end of its first chunk of steps. They include loading,
    compiling and, if necessary, preparing the data. None in the first records of schema 1."""
    revisions: dict[str, Count] = field(default_factory=dict)
    """Revisions of the task, the mechanism and the training step, as they enter the run's id."""
    switches: dict[str, Any] = field(default_factory=dict)
    """Global switches of the framework that decide numbers."""
    precision: str | None = None
    """The precision of matrix products. With `train.precision` auto, the device decided it."""
    devices: Count | None = None
    """Devices that shared each batch. Speed and memory are totals over all devices."""
    usable_cores: Count | None = None
    """Cores that the process could use; `environment` has those of the machine."""
    usable_memory_bytes: Count | None = None
    """Memory that the process could use."""
    first_losses: Annotated[list[float], MaxLen(FIRST_STEPS)] = field(default_factory=list)
    """Mean training loss of each of the first steps. Repeating these steps gives the same losses."""
    timing: str | None = None
    """"alone", or the reasons why the seconds are not valid as a timing (lra.training.disturbance)."""
    weights: Line | None = field(default=None, metadata={"later": True})
    """Path of the best weights on validation, relative to the folder of results. They are not in git."""
    preset_version: Count = field(default=1, metadata={"later": True})
    """Version of the preset's values, as the task's YAML gives it."""
    accumulate: Count = field(default=1, metadata={"later": True})
    """Parts of a device's share of a batch, computed one after the other. Memory is that of one part."""
    checksum: str | None = None
    """SHA-256 of all other fields. It detects damage but not fraud, since anyone can compute it anew."""

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the test accuracy."""
        return standard_error(self.test_accuracy, self.test_examples)

    @property
    def at_chance(self) -> bool:
        """Whether the test accuracy is at most three standard errors above chance."""
        chance = self.references["chance"]
        return self.test_accuracy < chance + CLEAR * standard_error(chance, self.test_examples)


def standard_error(accuracy: float, examples: int) -> float:
    """√(p(1 − p)/n), the binomial standard error of an accuracy p on n examples."""
    return math.sqrt(accuracy * (1 - accuracy) / examples)


def save(record: Record, results: Path) -> Path:
    """Write the record with its checksum under results/runs and return its path. Never overwrites a record.

    Raises:
        UserError: `load` would refuse the record.
    """
    path = results / "runs" / f"{name(record, record.run_id)}.json"
    try:
        _trusted(asdict(record))
    except UserError as error:
        raise UserError(f"{path} is not written, since it would not be a valid record: {error}") from error
    return write_new(json_document(asdict(sealed(record))), path)


def save_once(record: Record, results: Path) -> Path:
    """Write the record unless this run has one. Returns the path of the record that stays.

    If two processes write at the same moment, the one whose file has the later name removes it again.
    """
    stem = name(record, record.run_id)
    if there := _all(results, stem, record.run_id):
        return there[-1]
    path = save(record, results)
    first = _all(results, stem, record.run_id)[0]
    if first != path:
        path.unlink()
    return first


def sealed(record: Record) -> Record:
    """The record with its checksum."""
    return replace(record, checksum=record_checksum(asdict(record)))


def find(results: Path, run: Run, run_id: str) -> Path | None:
    """The last record of this run under results/runs, or None. A file that is not a record is named and left out."""
    return next(iter(reversed(_all(results, name(run, run_id), run_id))), None)


def _all(results: Path, stem: str, run_id: str) -> list[Path]:
    """Every record of a run, in the order in which their files were named."""
    own = re.compile(re.escape(stem) + r"(?:\.(\d{1,9}))?\.json")
    numbered = [(int(match[1] or 1), path) for path in _files(results / "runs") if (match := own.fullmatch(path.name))]
    return [path for _, path in sorted(numbered) if _is_of(path, run_id)]


def _is_of(path: Path, run_id: str) -> bool:
    try:
        return load(path).run_id == run_id
    except UserError as error:
        left_out([str(error)])
        return False


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def name(run: Run | Record, run_id: str) -> str:
    """The name of a run's files: task, mechanism, backend, preset, seed and the beginning of its id."""
    return f"{_stem(run)}-{run_id[:8]}"


def _stem(run: Run | Record) -> str:
    attn = in_path(Path(run.attn).name)  # a mechanism from outside is given as a path
    return f"{run.task}-{attn}-{run.backend}-{run.preset}-s{run.seed}"


def load(path: Path) -> Record:
    """Read a record. UserError if its layout is unknown, a value is out of range, or it is damaged."""
    try:
        values = read_json(path)
    except UserError as error:
        raise UserError(f"no record: {error}") from error
    if not isinstance(values, dict) or values.get("schema") not in SCHEMAS:
        raise UserError(f"{path} is not a record: expected a JSON object with schema 1 to {SCHEMA}")
    try:
        record = _trusted(values)
    except UserError as error:
        raise UserError(f"{path} is not a valid record: {error}") from error
    if record.schema > 1 and record.checksum != record_checksum(values):
        raise UserError(f"{path} is damaged (its checksum does not match): restore the file, or train the run again")
    return record


def _trusted(values: Mapping[str, Any]) -> Record:
    """The record of these values. UserError names the first that is missing, of another type, or out of range."""
    if missing := required(values["schema"]) - set(values):
        raise UserError(f"it has no {', '.join(sorted(missing))}")
    record = built(Record, values)
    steps = [point.step for point in record.curve]
    if "chance" not in record.references:
        raise UserError("references has no chance")
    if steps != sorted(set(steps)):
        raise UserError(f"curve has the steps {shown(steps)}, expected increasing steps")
    if record.best_step not in steps:
        raise UserError(f"best_step is {record.best_step}, expected a step of curve: {shown(steps)}")
    require_spelled(record.config.get("tuned", ""), "config")
    return record


@cache
def required(schema: int) -> frozenset[str]:
    """The required fields of a record of this schema. Newer fields may be missing."""
    return frozenset(
        each.name for each in fields(Record) if not each.metadata.get("later") and (schema > 1 or _has_no_default(each))
    )


def _has_no_default(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
