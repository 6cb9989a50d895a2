"""Every mechanism on every task in both frameworks, a few steps each: `make smoke-all`.

Writes results/evidence/smoke.md. It shows that every combination is wired: prepared, trained, scored, recorded. A few
steps teach nothing, so no accuracy is shown.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import attention_impls
from lra.core.config import resolve
from lra.core.environment import ROOT, environment, git_state
from lra.core.frameworks import installed
from lra.training import data
from lra.training.callbacks import Silent
from lra.training.trainer import Place, train

# Retrieval's released pairs cannot be expected to be here; its twin has two documents as well.
FIVE = ("listops", "text", "retrieval-aan1818", "image", "pathfinder")
LONG = ("pathx", "path256")  # 16,384 and 65,536 tokens: for elfatt alone, or the quadratic ones would take days


def wired(task: str, attn: str, backend: str, results: Path) -> str:
    """ "ok" where the smoke run of a combination ends with a finite loss and a record, else what went wrong."""
    run = resolve(task, attn, backend=backend, preset="smoke")  # pyright: ignore[reportArgumentType]
    prepared = data.prepare(task, run.data, data.source(None, None))
    try:
        record, path = train(run, prepared, Place(results=results, device="cpu", fresh=True), Silent())
    except Exception as error:  # the page is to name whatever it is
        return f"{type(error).__name__}: {error}".splitlines()[0]
    losses = [entry.validation_loss for entry in record.curve]
    return "ok" if path.exists() and all(map(math.isfinite, losses)) else f"losses {losses}"


def page(results: Path) -> str:
    """The table in Markdown: one row a mechanism, one column a task, PyTorch and JAX in each cell."""
    names, rows = FIVE + LONG, []
    known = [name for name in ("torch", "jax") if installed(name)]
    for attn in attention_impls.names():
        chosen = names if attn == "elfatt" else FIVE
        cells = [" / ".join(wired(task, attn, name, results) for name in known) for task in chosen]
        cells += ["not tried"] * (len(names) - len(chosen))
        rows.append(f"| {attn} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    head = f"| attention | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}"
    return head + "\n" + "\n".join(rows)


def main() -> None:
    """Run everything and write the page."""
    began = time.time()
    with tempfile.TemporaryDirectory() as results:
        table = page(Path(results))
    facts, commit = environment(), git_state()
    text = (
        "# Every mechanism on every task\n\n"
        "The smoke preset (a few steps) of each combination, PyTorch / JAX: prepared, trained with a finite loss, "
        "scored, recorded. Made by `make smoke-all`"
        f" in {(time.time() - began) / 60:.0f} minutes on {facts['cpu']}, commit {commit['commit'][:7]}"
        f"{'' if commit['clean'] else ' with changes'}.\n\n{table}\n"
    )
    (ROOT / "results" / "evidence" / "smoke.md").write_text(text)


if __name__ == "__main__":
    main()
