"""What one run leaves behind: a flat JSON file that says how it was made and how to make it again."""

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
CLEAR = 3.0  # standard errors that a difference needs to be called one
Seconds = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run. Accuracies are fractions of all examples of their split.

    The fields that have a default came with schema 2 and are at it in a record of schema 1.
    """

    schema: Annotated[int, Interval(ge=1, le=SCHEMA)]
    """Version of this layout."""
    run_id: Annotated[str, Matches("[0-9a-f]{12}")]
    """Hash of data, mechanism, configuration, seed, backend and revisions."""
    task: Line
    task_version: Count
    data: Line
    """Which data, in the words of the tables ("16×16, contour 5")."""
    data_hash: Line
    attn: Line
    options: dict[str, Any]
    """The mechanism's options."""
    backend: BackendName
    preset: Line
    seed: Seed
    config: Annotated[dict[str, Any], Holds(Configuration)]
    """The whole resolved configuration; `run_lra.py --config <record>` runs it again."""
    test_accuracy: Fraction
    """At the step of the best validation accuracy."""
    test_accuracy_last: Fraction
    """At the last step."""
    test_examples: Count
    validation_accuracy: Fraction
    """The best one."""
    validation: Line
    """Where the validation examples come from."""
    best_step: Steps
    references: dict[Line, Fraction]
    """Test accuracy of rules that need no learning, on this very data."""
    curve: Annotated[list[Point], MinLen(1)]
    """One entry an evaluation: its step, loss and accuracy in training since the last one, and on validation."""
    parameters: Whole
    seconds: Seconds
    """Training alone, without data, evaluation, stops, and the first call, in which a framework compiles."""
    evaluation_seconds: Seconds
    """Evaluations on the validation split, without stops."""
    steps_per_second: Seconds
    samples_per_second: Seconds
    peak_memory_bytes: Whole
    environment: Annotated[dict[str, Any], Holds(RunEnvironment)]
    git: Annotated[dict[str, Any], Holds(Git)]
    """The commit, and whether the checkout was clean; `why` where git could not tell."""
    command: str
    """Makes this record again."""
    first_steps_after: Seconds | None = None
    """Seconds from the start of the process that ended the run to the end of its first chunk of steps: what it took to
    load, compile and, where they were not there, make the data. None in the first records of schema 1."""
    revisions: dict[str, Count] = field(default_factory=dict)
    """Those of the task, the mechanism and the training step that made the numbers, as they enter the run's id."""
    switches: dict[str, Any] = field(default_factory=dict)
    """The framework's global switches that decide numbers."""
    precision: str | None = None
    """What matrix products were computed in; `train.precision` may have left it to the device."""
    devices: Count | None = None
    """Devices that shared each batch: speed and memory are those of all of them."""
    usable_cores: Count | None = None
    """Cores that the process might use; `environment` has those of the machine."""
    usable_memory_bytes: Count | None = None
    """Memory that the process might use."""
    first_losses: Annotated[list[float], MaxLen(FIRST_STEPS)] = field(default_factory=list)
    """Mean training loss of each of the first steps: who takes these steps again finds them again."""
    timing: str | None = None
    """"alone", or why the seconds are no timing: lra.training.disturbance has the words."""
    weights: Line | None = field(default=None, metadata={"later": True})
    """Where the best weights on validation were written, from the folder of results on; they are not in git."""
    preset_version: Count = field(default=1, metadata={"later": True})
    """Of the preset's values, which its task's YAML names."""
    accumulate: Count = field(default=1, metadata={"later": True})
    """Parts of a device's share of a batch, which it computed one after the other: memory is that of one part."""
    checksum: str | None = None
    """SHA-256 of all other fields. It shows damage, not honesty: who changes a record can compute it anew."""

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
    """Write the record with its checksum under results/runs and return its path; no earlier record is overwritten.

    UserError where `load` would refuse it.
    """
    path = results / "runs" / f"{name(record, record.run_id)}.json"
    try:
        _trusted(asdict(record))
    except UserError as error:
        raise UserError(f"{path} is not written, it would be no record: {error}") from error
    return write_new(json_document(asdict(sealed(record))), path)


def save_once(record: Record, results: Path) -> Path:
    """Write the record unless there is one of this very run; the path of the one that stays.

    Of two processes that write at the same moment, the one whose file has the later name removes it again.
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
    """The last record of this very run under results/runs, or None; a file that is no record is named and left out."""
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
    """What a run's files are called: task, mechanism, backend, preset, seed and the beginning of its id."""
    return f"{_stem(run)}-{run_id[:8]}"


def _stem(run: Run | Record) -> str:
    attn = in_path(Path(run.attn).name)  # a mechanism from outside is given as a path
    return f"{run.task}-{attn}-{run.backend}-{run.preset}-s{run.seed}"


def load(path: Path) -> Record:
    """Read a record back; one of another layout, out of range or damaged raises UserError."""
    try:
        values = read_json(path)
    except UserError as error:
        raise UserError(f"no record: {error}") from error
    if not isinstance(values, dict) or values.get("schema") not in SCHEMAS:
        raise UserError(f"{path} is no record of schema 1 to {SCHEMA}")
    try:
        record = _trusted(values)
    except UserError as error:
        raise UserError(f"{path} is no record: {error}") from error
    if record.schema > 1 and record.checksum != record_checksum(values):
        raise UserError(f"{path} is damaged: its checksum is of other values; restore the file or train again")
    return record


def _trusted(values: Mapping[str, Any]) -> Record:
    """The record of these values; UserError for the first that is missing, of another type, or out of its range."""
    if missing := required(values["schema"]) - set(values):
        raise UserError(f"it has no {', '.join(sorted(missing))}")
    record = built(Record, values)
    steps = [point.step for point in record.curve]
    if "chance" not in record.references:
        raise UserError("references has no chance")
    if steps != sorted(set(steps)):
        raise UserError(f"curve has the steps {shown(steps)}, expected rising ones")
    if record.best_step not in steps:
        raise UserError(f"best_step is {record.best_step}, expected a step of curve: {shown(steps)}")
    require_spelled(record.config.get("tuned", ""), "config")
    return record


@cache
def required(schema: int) -> frozenset[str]:
    """The fields that a record of this schema has to have; those that came later than the schema may be left out."""
    return frozenset(
        each.name for each in fields(Record) if not each.metadata.get("later") and (schema > 1 or _has_no_default(each))
    )


def _has_no_default(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
