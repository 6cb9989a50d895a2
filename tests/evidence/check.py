"""What the accuracy test of `check` sees, and how often it cries wolf: `python -m tests.evidence.check`.

ELFATT broken on purpose is trained in the place of elfatt and held against elfatt's baseline, by accuracy alone; beside
it stands what the golden curve says. The clean runs are those of results/baselines.yaml. Writes
results/evidence/check.md.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist, fmean, stdev

from lra.core.environment import ROOT, environment, git_state
from lra.regression import baselines
from lra.regression.baselines import Baseline, WatchedCell
from lra.regression.prediction import at_most
from lra.regression.report import clean_alarms
from lra.regression.trial import first_losses, prepare, ratio, records
from lra.regression.verdict import HELD, TOLERANCE, commit, of_accuracy, of_curve, percent

CELL = "listops-elfatt-torch"
FAULTS = {
    "softmax_axis": "softmax over the wrong axis",
    "block_mask": "block mask shifted by one",
    "convolution": "convolution dropped",
    "padding": "padding attended",
}
FOLDER = Path(__file__).parent / "broken"
FIRST_SEED = 400
CHECKS = 3  # of each fault, with seeds of their own
TIMINGS = 5
POWERS = (0.8, 0.9)


def false_alarms(cell: WatchedCell, baseline: Baseline, level: float) -> str:
    """How many checks made of the clean runs would have failed, at several levels."""
    rows = ["| level | clean checks | false alarms | rate at most (95 % confidence) |", "|---" * 4 + "|"]
    for each in (level, 0.05, 0.2):
        runs, alarms = clean_alarms(cell, baseline, each)
        rows.append(f"| {100 * each:g} % | {runs} | {alarms} | {100 * at_most(alarms, runs):.1f} % |")
    return "\n".join(rows)


def given_this_baseline(cell: WatchedCell, baseline: Baseline, level: float) -> float:
    """The rate of false alarms of this one baseline, if accuracies are normal with the clean runs' mean and spread."""
    k = len(cell.check_seeds)
    spread = NormalDist(fmean(baseline.clean), stdev(baseline.clean) / math.sqrt(k))
    return spread.cdf(baseline.expected.bound(k, level))


def faults(cell: WatchedCell, baseline: Baseline, level: float) -> str:
    """Each fault in a few checks: by accuracy alone, then by its first losses."""
    head = ["fault", "accuracy of each check %", "mean lost", "p of each check", "by accuracy", "first losses off by"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    k, prepared = len(cell.check_seeds), prepare(cell)
    for name, words in FAULTS.items():
        broken = replace(cell, attn=str(FOLDER / name))
        seeds = [FIRST_SEED + i for i in range(CHECKS * k)]
        scored = [record.test_accuracy for record in records(broken, seeds, prepared)]
        means = [fmean(scored[i : i + k]) for i in range(0, len(scored), k)]
        verdicts = [of_accuracy(cell, baseline, scored[i : i + k], level) for i in range(0, len(scored), k)]
        caught = sum(verdict.status != HELD for verdict in verdicts)
        losses = first_losses(broken, prepared)
        curve = of_curve(cell, baseline, losses)
        cells = [
            words,
            ", ".join(map(percent, means)),
            f"{100 * (baseline.mean - fmean(means)):.1f} points",
            ", ".join(f"{verdict.p:.2g}" for verdict in verdicts),
            f"caught {caught} of {CHECKS}" if caught else "**cannot be seen**",
            f"{_furthest(losses, baseline.curve):.0e}, {'not ' if curve.status == HELD else ''}caught",
        ]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


def _furthest(losses: list[float], golden: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(losses, golden, strict=True))


def timings(cell: WatchedCell, baseline: Baseline) -> str:
    """The ratio measured again and again, as one sentence."""
    assert baseline.ratio is not None
    assert cell.speed is not None
    found = [ratio(cell).spread for _ in range(TIMINGS)]
    medians, least = [each.median for each in found], baseline.ratio / cell.speed.factor
    return (
        f"Measured {TIMINGS} times, the median ratio to softmax was {', '.join(f'{each:.2f}' for each in medians)} "
        f"(baseline {baseline.ratio:.2f}). The upper quartile, which has to fall below {least:.2f}, was never under "
        f"{min(each.high for each in found):.2f}. The factor {cell.speed.factor:g} leaves that much room for a busy "
        "machine and for other processors."
    )


def page() -> str:
    """The whole page."""
    known = baselines.load(ROOT / "results" / "baselines.yaml")
    cell = next(each for each in known.cells if each.name == CELL)
    baseline = cell.baseline
    assert baseline is not None, f"{CELL} has no baseline: run_lra.py check --update --cell {CELL}"
    k, facts, git = len(cell.check_seeds), environment(), git_state()
    losses = ", ".join(
        f"{100 * baseline.expected.smallest_loss(k, known.level, power):.1f} points with probability {power:g}"
        for power in POWERS
    )
    return f"""\
# What the regression test sees

Cell `{CELL}`: {baseline.data}, {baseline.n} baseline seeds, {percent(baseline.mean)} ± {percent(baseline.std)} %,
the worst {percent(min(baseline.accuracies))} %; without learning {percent(max(baseline.without_learning.values()))} %.
A check trains {k} seeds; below {percent(baseline.expected.bound(k, known.level))} % it fails, at the level
{100 * known.level:g} %. Smallest loss that is caught: {losses}.

Made by `python -m tests.evidence.check` on {facts["cpu"]} ({facts["cores"]} cores, other work beside it), commit
{(git["commit"] or "unknown")[:7]}{"" if git["clean"] else " with changes"}; baseline of commit {commit(baseline)}.

## False alarms
By Student's t distribution the level is the rate, if accuracies over seeds are normal, averaged over the baselines
that chance might have made. One baseline may be a lucky one. Clean runs of the same code, seeds {cell.clean_seeds[0]}
to {cell.clean_seeds[-1]}, scored {percent(fmean(baseline.clean))} ± {percent(stdev(baseline.clean))} %.
With that mean and spread this baseline's own rate is
{100 * given_this_baseline(cell, baseline, known.level):.1f} %. Without any distribution: checks made of the clean runs,
{k} seeds each, with Clopper and Pearson's bound.

{false_alarms(cell, baseline, known.level)}

## Broken on purpose
Seeds {FIRST_SEED}–{FIRST_SEED + CHECKS * k - 1}, {CHECKS} checks of each fault. Accuracy alone decides; the last column
is the golden curve, within {TOLERANCE:g}, for comparison.

{faults(cell, baseline, known.level)}

What no column catches is left to tests/test_attention_parity.py, which holds elfatt to its reference within 1e-9.

## Throughput
{timings(cell, baseline)}
"""


if __name__ == "__main__":
    (ROOT / "results" / "evidence" / "check.md").write_text(page())
