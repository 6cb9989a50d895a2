"""The output of `check`: tables on the terminal, a JUnit file, and the changes of an update."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lra.core.files import write_atomically
from lra.regression.baselines import Baseline, WatchedCell
from lra.regression.prediction import at_most
from lra.regression.verdict import HELD, POWER, REGRESSED, Verdict, commit, percent
from lra.terminal.console import new_table

CONFIDENCE = 0.95  # of the bound on the rate of false alarms


def tables(verdicts: Sequence[Verdict]) -> list[Table]:
    """A table for each cell with a row for each test, narrow enough for 80 columns."""
    names = dict.fromkeys(verdict.cell for verdict in verdicts)
    return [_table([verdict for verdict in verdicts if verdict.cell == name]) for name in names]


def _table(verdicts: Sequence[Verdict]) -> Table:
    first = verdicts[0]
    made = f", baseline of commit {first.commit}" if first.commit else ""
    found = new_table(f"{first.cell}{made}", names=("test",), texts=("expected", "got", "p-value", ""))
    found.box, found.padding = SIMPLE_HEAD, (0, 1, 0, 0)
    for verdict in verdicts:
        p = "" if verdict.p is None else f"{verdict.p:.2g}"
        found.add_row(verdict.test, verdict.expected, verdict.got, p, verdict.status)
    return found


def troubles(verdicts: Sequence[Verdict]) -> list[str]:
    """The reason for each test without a result, one line each."""
    return [f"{each.cell}: {each.test} {each.status}: {each.why}" for each in verdicts if each.why]


def lines(cells: Sequence[WatchedCell], level: float) -> list[str]:
    """The power and the false alarms of the accuracy test, one line for each cell with a baseline."""
    share = level / len(cells)
    told = [
        f"False alarms: {100 * level:g} in 100 checks of unchanged code, on average over random baselines "
        f"(Student's t, {100 * share:.2g} % for each of {len(cells)})."
    ]
    for cell in cells:
        if cell.baseline is not None:
            told.append(f"{cell.name}: {_seen(cell, cell.baseline, share)}{_clean(cell, cell.baseline, share)}")
    return told


def _seen(cell: WatchedCell, baseline: Baseline, level: float) -> str:
    loss = baseline.expected.smallest_loss(len(cell.check_seeds), level, POWER)
    return f"{100 * POWER:.0f} of 100 checks detect a loss of {100 * loss:.1f} points of accuracy"


def _clean(cell: WatchedCell, baseline: Baseline, level: float) -> str:
    if not baseline.clean:
        return ""
    runs, alarms = clean_alarms(cell, baseline, level)
    return (
        f"; {alarms} false alarms in {runs} clean checks, so at most {100 * at_most(alarms, runs, CONFIDENCE):.0f} % "
        f"({100 * CONFIDENCE:.0f} % confidence)"
    )


def clean_alarms(cell: WatchedCell, baseline: Baseline, level: float) -> tuple[int, int]:
    """The number of checks that the clean seeds make up, and the number of false alarms among them."""
    k = len(cell.check_seeds)
    means = [sum(baseline.clean[i : i + k]) / k for i in range(0, len(baseline.clean) - k + 1, k)]
    return len(means), sum(baseline.expected.p_value(mean, k) < level for mean in means)


def save_junit(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write the verdicts as JUnit XML: a regression is a failure, a test that could not run is an error."""
    failures = sum(verdict.status == REGRESSED for verdict in verdicts)
    errors = sum(verdict.status not in (HELD, REGRESSED) for verdict in verdicts)
    counts = {"tests": str(len(verdicts)), "failures": str(failures), "errors": str(errors)}
    seconds = f"{sum(verdict.seconds for verdict in verdicts):.1f}"
    suite = ElementTree.Element("testsuite", {"name": "run_lra.py check", **counts, "time": seconds})
    for verdict in verdicts:
        facts = {"classname": verdict.cell, "name": verdict.test, "time": f"{verdict.seconds:.1f}"}
        case = ElementTree.SubElement(suite, "testcase", facts)
        if verdict.status != HELD:
            kind = "failure" if verdict.status == REGRESSED else "error"
            ElementTree.SubElement(case, kind, {"message": _message(verdict)})
        elif verdict.got:
            ElementTree.SubElement(case, "system-out").text = _message(verdict)
    ElementTree.indent(suite)
    write_atomically(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True), path)


def _message(verdict: Verdict) -> str:
    if verdict.why:
        return verdict.why
    p = "" if verdict.p is None else f", p = {verdict.p:.2g}"
    return f"expected {verdict.expected}, got {verdict.got}{p}, baseline of commit {verdict.commit}"


def changes(before: WatchedCell, after: WatchedCell) -> list[str]:
    """The changes of an update in one cell, one line for each value."""
    old, new = before.baseline, after.baseline
    assert new is not None, "an update measures a baseline"
    if old is None:
        return [f"{after.name}: new, {_spread(new)}, commit {commit(new)}"]
    pairs = {
        "accuracy": (_spread(old), _spread(new)),
        "data": (old.data_hash[:12], new.data_hash[:12]),
        "throughput": (f"{old.ratio} × softmax", f"{new.ratio} × softmax"),
        "commit": (commit(old), commit(new)),
    }
    told = [f"{after.name}: {name}: {one} → {other}" for name, (one, other) in pairs.items() if one != other]
    apart = max(abs(b - a) / abs(a) for a, b in zip(old.curve, new.curve, strict=True))
    return [*told, f"{after.name}: first losses: largest difference to the former {apart:.1e}"]


def _spread(baseline: Baseline) -> str:
    return f"{percent(baseline.mean)} ± {percent(baseline.std)} % ({baseline.n})"
