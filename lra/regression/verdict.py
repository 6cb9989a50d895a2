"""The verdicts on a cell: held, regressed, or could not run. There are three independent tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lra.bench.summary import Ratio
from lra.regression.baselines import Baseline, WatchedCell

HELD, REGRESSED, UNKNOWN = "held", "regressed", "could not run"
TOLERANCE = 1e-3  # relative to a golden loss
POWER = 0.9  # probability with which the reported loss of accuracy is detected


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of one test of one cell."""

    cell: str
    test: str
    """accuracy, curve or throughput; all if nothing could be compared."""
    status: str
    expected: str = ""
    got: str = ""
    p: float | None = None
    """The probability of such an accuracy or a lower one if nothing has changed."""
    why: str = ""
    """The reason why it could not run."""
    seconds: float = 0.0
    commit: str = ""
    """The commit that made the baseline."""


def of_accuracy(cell: WatchedCell, baseline: Baseline, accuracies: Sequence[float], level: float) -> Verdict:
    """Test whether the mean over the check's seeds is above the prediction bound; `level` is that of this cell."""
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
    """Test whether each of the first losses is within TOLERANCE of the golden one. A loss of NaN fails."""
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
    """Test whether three quarters of the rounds are too slow. A disturbance of a few rounds gives no alarm."""
    assert baseline.ratio is not None, "the throughput test needs a baseline ratio"
    assert cell.speed is not None, "the throughput test needs a speed"
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
    """The verdict of a test that could not run, with the reason."""
    made = "" if cell.baseline is None else commit(cell.baseline)
    return Verdict(cell=cell.name, test=test, status=status, why=" ".join(why.split()), commit=made)


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """The exit code: 0 all tests passed, 1 a test regressed, 2 none regressed but some could not run."""
    found = {verdict.status for verdict in verdicts}
    return 1 if REGRESSED in found else 2 if UNKNOWN in found else 0


def commit(baseline: Baseline) -> str:
    """The commit that made the baseline, with a + if its checkout was not clean."""
    if baseline.commit is None:
        return "unknown"
    return baseline.commit[:7] + ("" if baseline.clean_checkout else "+")


def percent(share: float) -> str:
    """A share in per cent with two digits, since seeds of one cell differ by less than one per cent."""
    return f"{100 * share:.2f}"
