"""What the evidence on the cost of a step shares: the batches of a run, and a page with one process a row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lra.core.config import Run
from lra.core.environment import ROOT, environment, git_state
from lra.model.batches import Chunk, Epochs, chunk_bounds, gatherers, training_chunks
from lra.model.padding import Grouping
from lra.model.schedule import one_cycle
from lra.training import data


def first_steps(run: Run, grouping: Grouping, steps: int) -> list[Chunk]:
    """The first steps of the run, one a chunk."""
    plan, prepared = run.train, data.prepare(run.task, run.data, data.source(None, None))
    rate = partial(one_cycle, peak=plan.learning_rate, warmup=plan.warmup, total=plan.steps)
    gather = gatherers(prepared.splits, plan.batch_size, plan.steps, grouping)["train"]
    epochs = Epochs(len(prepared.splits["train"]), run.seed)
    return list(training_chunks(gather, epochs, chunk_bounds(0, steps, 1, 1), plan.batch_size, rate))


def commit_of(checkout: Path) -> str:
    """The commit that is checked out there, seven digits; nothing where there is none."""
    asked = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def write_page(name: str, title: str, text: str, head: str, rows: Sequence[Sequence[str]]) -> None:
    """results/evidence/<name>.md: each row is what `python -m tests.evidence.<name>` prints last with these words."""
    facts, commit, told = environment(), git_state(), []
    module = f"tests.evidence.{name}"
    for words in rows:
        run = subprocess.run([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True, check=True)
        told.append(run.stdout.splitlines()[-1])
        print(told[-1], flush=True)
    where = f"{facts['cpu']}, {facts['cores']} cores"
    at = f"commit {(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}"
    rule = "---".join("|" * head.count("|"))
    body = [f"# {title}", "", f"{text} `python -m {module}` on {where}, {at}.", "", head, rule, *told, ""]
    (ROOT / "results" / "evidence" / f"{name}.md").write_text("\n".join(body))
