"""What people's machines and files do to the program: `python -m tests.evidence.faults [TRIALS] [SEED] [INPUT …]`.

Every file that it reads is mutated many times, and each time it has to be refused in one line that names a file, or to
read as something that could be meant. Runs are starved of disk at every write, killed and continued, and started in
odd environments. Writes results/evidence/faults.md; a bad trial is printed with what makes it again. With names of
inputs only those are tried, and their rows are put into the page that is there.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attention_impls.base import AttentionError
from lra.core.environment import ROOT, environment, git_state
from lra.core.errors import UserError
from lra.terminal.console import console, errors
from tasks.base import TaskError
from tests import faulty_machines
from tests.faulty_inputs import Input, inputs, miniature
from tests.mutations import fresh_copy, of_bytes, of_values

SECONDS = 20  # after which a reader hangs
HELD, TRACEBACK, BELIEVED, HANG = "held", "tracebacks", "believed", "hangs"
BAD = (TRACEBACK, BELIEVED, HANG)
LAST = ("a full disk", "a kill", "an odd environment")  # rows of machines, which follow those of files


@dataclass(frozen=True)
class Trial:
    """One fault and how it ended."""

    name: str
    what: str
    outcome: str
    why: str = ""


class _Hung(BaseException):
    """A reader that does not come back."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """_Hung is raised inside after so many seconds."""

    def hung(number: int, frame: Any) -> None:
        raise _Hung

    former = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def outcome(read: Callable[[], Any], place: Path, expected: Any, sealed: bool) -> tuple[str, str]:
    """How a reader took a mutated input, and what it said."""
    try:
        with limited(SECONDS):
            found = read()
    except (UserError, TaskError, AttentionError) as error:
        line = str(error)
        told = "\n" not in line and str(place) in line and len(line) < 2000
        return (HELD if told else TRACEBACK), line
    except _Hung:
        return HANG, ""
    except OSError as error:  # which ends a command in one line, if it has a name
        return (HELD if error.filename and error.strerror else TRACEBACK), f"{type(error).__name__}: {error}"
    except Exception as error:  # whatever it is, a user would see it
        if type(error).__name__ == "TypeCheckError":
            return HELD, ""  # of pytest's checker of annotations, for which 1 is no float
        return TRACEBACK, f"{type(error).__name__}: {error}"
    return (BELIEVED if sealed and found not in (None, expected) else HELD), ""


def mutated(each: Input, place: Path, trials: int, seed: int) -> Iterator[Trial]:
    """One input, read after each of so many mutations."""
    origin, own = place / "origin", place / "own"
    origin.mkdir(parents=True)
    each.write(origin)
    fresh_copy(origin, own)
    expected = each.read(own)
    files = sorted(path.relative_to(origin) for path in origin.rglob("*") if path.is_file())
    for number in range(trials):
        rng = np.random.default_rng([seed, number, *each.name.encode()])
        fresh_copy(origin, own)
        path = own / files[rng.integers(0, len(files))]
        structured = path.suffix in (".json", ".yaml") and rng.random() < 0.7
        did = of_values(path, rng) if structured else of_bytes(path, rng)
        result, why = outcome(lambda: each.read(own), place, expected, each.sealed)
        yield Trial(each.name, f"seed {seed}, trial {number}: {path.relative_to(own)}: {did}", result, why)


def campaign(trials: int, seed: int, chosen: Sequence[Input] | None = None) -> Iterator[Trial]:
    """Every input so many times."""
    with tempfile.TemporaryDirectory(prefix="lra-faults-") as folder, miniature(Path(folder)):
        for number, each in enumerate(inputs() if chosen is None else chosen):
            yield from mutated(each, Path(folder) / str(number), trials, seed)
            shutil.rmtree(Path(folder) / str(number))


def machines() -> Iterator[Trial]:
    """Full disks, kills and odd environments."""
    with tempfile.TemporaryDirectory(prefix="lra-faults-") as folder:
        for name, what, told in faulty_machines.trials(Path(folder)):
            yield Trial(name, what, TRACEBACK if told else HELD, told)


def page(found: Sequence[Trial], seconds: float, seed: int) -> str:
    """The results in Markdown, a row a kind of input."""
    return (
        "# Faults of files and machines\n\n"
        "Each trial changes one file that the program reads, starves a run of disk, kills it, or starts it in an odd "
        "environment. Held: it was refused in one line that names the file, read as something that could be meant, or "
        "continued to the same numbers. Believed: a file with a checksum gave other values. "
        f"Made by `python -m tests.evidence.faults` in {seconds / 60:.0f} minutes, seed {seed}, on "
        f"{environment()['cpu']}, commit {_version()}.\n\n{_table(_rows(found))}"
    )


def with_rows(text: str, found: Sequence[Trial], seed: int) -> str:
    """The page with these rows in it, after those that it has; it says when they were tried."""
    head, title, table = text.partition("| input |")
    lines = [line.strip("| ").split(" | ") for line in f"{title}{table}".splitlines()[2:]]
    rows = {name: [int(count) for count in counts] for name, *counts in lines if name != "all"}
    own = _rows(found)
    machines = {name: rows.pop(name) for name in LAST if name in rows}
    head = f"{head.rstrip()} Later, at commit {_version()}, seed {seed}: {', '.join(own)}.\n\n"
    return head + _table(rows | own | machines)


def _rows(found: Sequence[Trial]) -> dict[str, list[int]]:
    """How many trials of each input there were, and how they ended."""
    rows = {}
    for name in dict.fromkeys(each.name for each in found):
        counts = Counter(each.outcome for each in found if each.name == name)
        rows[name] = [counts.total(), *(counts[kind] for kind in (HELD, *BAD))]
    return rows


def _table(rows: dict[str, list[int]]) -> str:
    rows = rows | {"all": np.sum(list(rows.values()), axis=0).tolist()}
    lines = "\n".join(f"| {' | '.join(map(str, (name, *counts)))} |" for name, counts in rows.items())
    return f"| input | tried | {' | '.join((HELD, *BAD))} |\n|{'---|' * 6}\n{lines}\n"


def _version() -> str:
    commit = git_state()
    return f"{(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}"


def main(*names: str, trials: int = 40, seed: int = 0) -> int:
    """Run the campaign, or that of these inputs, and write the page; the exit code, 1 where a trial was bad."""
    began, found = time.time(), []
    console.quiet = errors.quiet = True  # what runs show is not of interest
    chosen = [each for each in inputs() if each.name in names] if names else None
    for source in (campaign(trials, seed, chosen), () if names else machines()):
        for each in source:
            found.append(each)
            if each.outcome in BAD:
                print(f"{each.outcome}: {each.name}: {each.what}: {each.why[:300]}", flush=True)
    path = ROOT / "results" / "evidence" / "faults.md"
    text = with_rows(path.read_text(encoding="utf-8"), found, seed) if names else page(found, time.time() - began, seed)
    path.write_text(text, encoding="utf-8")
    print(text.partition("\n\n| ")[2])
    return int(any(each.outcome in BAD for each in found))


if __name__ == "__main__":
    numbers = dict(zip(("trials", "seed"), map(int, sys.argv[1:3]), strict=False))
    sys.exit(main(*sys.argv[3:], **numbers))
