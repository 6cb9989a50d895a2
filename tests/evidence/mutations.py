"""What the tests catch: named faults and random ones, each against the tests of its module, in a copy of this tree.

    python -m tests.evidence.mutations [RANDOM] [SEED]

Writes results/evidence/mutations.md. Each fault has the tests of its module and stops at the first that fails. Nothing
in this checkout is changed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lra.core.environment import ROOT, git_state
from lra.core.files import write_atomically
from tests.evidence.kernel_mutants import KERNELS
from tests.evidence.mixer_mutants import MIXERS
from tests.evidence.mutants import NAMED, Mutant, file_of, random_mutants

PAGE = ROOT / "results" / "evidence" / "mutations.md"
SECONDS = 300
CAUGHT, MISSED, BROKEN = "caught", "missed", "no test ran"
FAULTS = (*NAMED, *KERNELS, *MIXERS)


def attempt(mutant: Mutant, tree: Path) -> str:
    """CAUGHT, MISSED or BROKEN for one fault; the tree is as before afterwards."""
    path = file_of(mutant, tree)
    sound = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(sound), encoding="utf-8")
    words = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--timeout", "120", *shlex.split(mutant.tests)]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "LRA_TEST_SECONDS": "0"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words], cwd=tree, env=environment, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return CAUGHT
    finally:
        path.write_text(sound, encoding="utf-8")
    # 2: a module could not even be imported, which every user would notice too.
    return {0: MISSED, 1: CAUGHT, 2: CAUGHT}.get(done.returncode, BROKEN)


def campaign(mutants: Sequence[Mutant], tree: Path) -> list[tuple[Mutant, str]]:
    """Every fault and what became of it, told as it happens."""
    found = []
    for mutant in mutants:
        outcome = attempt(mutant, tree)
        print(f"{outcome}: {mutant.name}", flush=True)
        found.append((mutant, outcome))
    return found


def page(named: Sequence[tuple[Mutant, str]], drawn: Sequence[tuple[Mutant, str]], seed: int, seconds: float) -> str:
    """The results page."""
    state = git_state()
    lines = [
        "# Mutations",
        "",
        f"`python -m tests.evidence.mutations {len(drawn)} {seed}` at {(state['commit'] or 'unknown')[:7]}, "
        f"{seconds / 60:.0f} minutes. A fault is caught where a test of its module fails.",
        "",
        f"Named faults: {sum(outcome == CAUGHT for _, outcome in named)} of {len(named)} caught. "
        f"Random ones, seed {seed}: {sum(outcome == CAUGHT for _, outcome in drawn)} of {len(drawn)}.",
        "",
        "| fault | file | outcome |",
        "|---|---|---|",
        *(f"| {mutant.name} | {mutant.path} | {outcome} |" for mutant, outcome in named),
        "",
        "Random faults that no test caught:",
        "",
        *[f"- `{mutant.name}` ({outcome})" for mutant, outcome in drawn if outcome != CAUGHT],
    ]
    return "\n".join(lines) + "\n"


def main(random_count: int = 60, seed: int = 0) -> int:
    """Run the campaign; 1 where a named fault is not caught."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "clone", "-q", ROOT, tree], check=True)
        named = campaign(FAULTS, tree)
        drawn = campaign(random_mutants(tree, random_count, seed), tree)
    write_atomically(page(named, drawn, seed, time.monotonic() - started).encode(), PAGE)
    return int(any(outcome != CAUGHT for _, outcome in named))


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
