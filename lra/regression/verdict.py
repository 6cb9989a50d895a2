"""What is made of a cell's trial: held, regressed, or not to be compared. Three tests, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lra.bench.summary import Ratio
from lra.regression.baselines import Baseline, WatchedCell

HELD, REGRESSED, UNKNOWN = "held", "regressed", "could not run"
TOLERANCE = 1e-3  # of a golden loss, relative
POWER = 0.9  # of the smallest loss that is told


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One test of one cell."""

    cell: str
    test: str
    """accuracy, curve, throughput; or all, where there was nothing to compare."""
    status: str
    expected: str = ""
    got: str = ""
    p: float | None = None
    """Of the accuracy, or lower, where nothing has changed."""
    why: str = ""
    """What kept it from running."""
    seconds: float = 0.0
    commit: str = ""
    """That made the baseline."""


def of_accuracy(cell: WatchedCell, baseline: Baseline, accuracies: Sequence[float], level: float) -> Verdict:
    """Whether the mean over the check's seeds lies where chance alone would take it; `level` is that of this cell."""
    expected, k = baseline.expected, len(accuracies)
    mean = sum(accuracies) / k
    bound, p = expected.bound(k, level), expected.p_value(mean, k)
    return Verdict(
        cell=cell.name,
        test="accuracy",
        status=REGRESSED if p < level else HELD,
        expected=f"≥ {percent(bound)} %: {percent(expected.mean)} ± {percent(expected.std)} ({expected.n})",
        got=f"{percent(mean)} %" + (f" ({k} seeds)" if k > 1 else ""),
        p=p,
        commit=commit(baseline),
    )


def of_curve(cell: WatchedCell, baseline: Baseline, losses: Sequence[float]) -> Verdict:
    """Whether each of the first losses is the golden one, within TOLERANCE of it. A loss that is no number is not."""
    apart = [abs(loss - golden) / abs(golden) for loss, golden in zip(losses, baseline.curve, strict=True)]
    left = [step for step, distance in enumerate(apart) if not distance <= TOLERANCE]
    return Verdict(
        cell=cell.name,
        test="curve",
        status=REGRESSED if left else HELD,
        expected=f"{len(apart)} losses ± {TOLERANCE:g}",
        got=f"{apart[left[0]]:.1e} off at step {left[0] + 1}" if left else f"at most {max(apart):.1e} off",
        commit=commit(baseline),
    )


def of_throughput(cell: WatchedCell, baseline: Baseline, found: Ratio) -> Verdict:
    """Whether three quarters of the rounds are slower than allowed: what disturbs a few of them raises no alarm."""
    assert baseline.ratio is not None, "only where there is a baseline ratio"
    assert cell.speed is not None, "nor is there one without a speed"
    least = baseline.ratio / cell.speed.factor
    return Verdict(
        cell=cell.name,
        test="throughput",
        status=REGRESSED if found.spread.high < least else HELD,
        expected=f"≥ {least:.2f}: {baseline.ratio:.2f} × softmax",
        got=f"{found.spread.median:.2f} ({found.spread.low:.2f}–{found.spread.high:.2f})",
        commit=commit(baseline),
    )


def of_nothing(cell: WatchedCell, why: str, test: str = "all", status: str = UNKNOWN) -> Verdict:
    """A test that found nothing to compare, and why."""
    made = "" if cell.baseline is None else commit(cell.baseline)
    return Verdict(cell=cell.name, test=test, status=status, why=" ".join(why.split()), commit=made)


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 all held, 1 something regressed, 2 nothing regressed but something could not run."""
    found = {verdict.status for verdict in verdicts}
    return 1 if REGRESSED in found else 2 if UNKNOWN in found else 0


def commit(baseline: Baseline) -> str:
    """The commit that made the baseline, marked where its checkout was not clean."""
    if baseline.commit is None:
        return "unknown"
    return baseline.commit[:7] + ("" if baseline.clean_checkout else "+")


def percent(share: float) -> str:
    """A share in percent, to two digits: seeds of one cell differ by less than one."""
    return f"{100 * share:.2f}"
