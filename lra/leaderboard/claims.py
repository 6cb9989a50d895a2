"""The page results/CLAIMS.md: each claim of ELFATT's abstract beside our figures, and what is not measured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lra.bench.record import BenchRecord
from lra.bench.table import number, quartiles, tokens
from lra.core.markup import in_code, in_markdown, pipe_table
from lra.scores import claims
from lra.scores.board import LEARNING, Board, Row
from lra.scores.claims import Claim, Claims, Factor, Standing
from lra.scores.tables import NONE, score

HEAD = """# Claims of the ELFATT paper

`python run_lra.py leaderboard` writes this page from [claims.yaml](claims.yaml) and the records in [bench](bench) and
[runs](runs). Do not edit it. The claims are in our words, with the paper's figures. Our measurements are beside them.
The page gives no verdicts, since our devices, models and data differ from the paper's."""
SPEED = """A factor is how many times as fast elfatt is: the median over the rounds of one benchmark, with quartiles.
Both mechanisms are timed in turn. Below 1 elfatt is slower. ! marks unstable or disturbed samples. A newer measurement
replaces an older one."""
ACCURACY = """Test accuracy in %: mean ± standard deviation over seeds (number of seeds). † One seed, or equal ones: the
binomial standard error of the test set. Best other: the mechanism with the greatest mean in the same framework. Rivals:
the number of other mechanisms. The last column says whether the data cannot distinguish elfatt from the best of its
column, as bold does on the [leaderboard](LEADERBOARD.md)."""
MISSING = "not measured yet"
LONG = 1000  # characters of one line of text


def page(listed: Claims, records: Sequence[tuple[str, BenchRecord]], boards: Sequence[Board]) -> str:
    """The whole page. Each bench record comes with its file name."""
    summary, sections = [], []
    for claim in listed.claims:
        timed = claims.factors(claim.speed, records) if claim.speed else []
        scored = claims.standings(claim.accuracy, boards) if claim.accuracy else []
        summary.append((_link(claim), in_markdown(claim.claim), *_row(claim, timed, scored)))
        sections += _section(claim, timed, scored)
    head = ("claim", "the paper says", "we measured", "on", "from")
    return (
        "\n\n".join([HEAD, f"Source: {in_markdown(listed.source, LONG)}.", pipe_table(head, summary), *sections]) + "\n"
    )


def _link(claim: Claim) -> str:
    return f"[{in_markdown(claim.title)}](#{claim.id})"


def _row(claim: Claim, timed: Sequence[Factor], scored: Sequence[Standing]) -> tuple[str, str, str]:
    """A row of the summary: the measurements, their devices, and the number of records."""
    said = [*_factors(timed), *_counts(scored)]
    where = [*dict.fromkeys(each.device for each in timed), *_devices(scored)]
    runs = sum(len(_runs(each)) for each in scored)
    sources = [_many(len({each.file for each in timed}), "bench record"), _many(runs, "run")]
    missing = _missing(claim, timed, scored)
    return (
        "<br>".join([*said, *([MISSING if not said else "in part " + MISSING] if missing else [])]),
        "<br>".join(in_markdown(each) for each in where) or NONE,
        ", ".join(each for each in sources if each) or NONE,
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}" if count else ""


def _factors(timed: Sequence[Factor]) -> list[str]:
    """Median and quartiles at the least and the most tokens, for each rival, kind of step, framework and device."""
    groups: dict[tuple[str, ...], list[Factor]] = {}
    for each in timed:
        where = (each.record.what, each.ours.backend, each.device)
        groups.setdefault((each.theirs.label, *where), []).append(each)
    several = len({device for *_, device in groups}) > 1
    found = []
    for (rival, what, backend, device), of in groups.items():
        where = f", {in_markdown(device)}" if several else ""
        least, *more = sorted(of, key=lambda each: each.ours.length)
        ends = (least, *more[-1:])  # the table below has every length
        figures = " to ".join(f"{_median(each)} at {in_markdown(tokens(each.ours))} tokens" for each in ends)
        found.append(f"against {in_code(rival)}, {what}, {backend}{where}: {figures}")
    return found


def _median(each: Factor) -> str:
    return f"{number(each.ratio.spread.median)}× ({quartiles(each.ratio.spread)})"


def _between(least: str, most: str) -> str:
    return least if least == most else f"{least}–{most}"


def _counts(scored: Sequence[Standing]) -> list[str]:
    """The number of columns in which the data cannot distinguish elfatt from the best, of those with rivals."""
    groups: dict[tuple[str, str], list[Standing]] = {}
    for each in scored:
        groups.setdefault((each.board.preset, each.ours.backend), []).append(each)
    found = []
    for (preset, backend), of in groups.items():
        beside = [each for each in of if each.rivals]
        alone = ", ".join(each.task.task for each in of if not each.rivals)
        among = sum(each.among_best for each in beside)
        rivals = sorted(each.rivals for each in beside)
        many = _between(f"{rivals[0]}", f"{rivals[-1]}") if beside else ""
        count = f"{many} {'rival' if many == '1' else 'rivals'}"
        told = f"not distinguishable from the best in {among} of {len(beside)} tasks ({count})" if beside else ""
        lone = f"no other mechanism in {alone}" if alone else ""
        note = " (undertrained, not a ranking)" if preset == LEARNING else ""
        found.append(f"{preset}{note}, {backend}: {'; '.join(each for each in (told, lone) if each)}")
    return found


def _devices(scored: Sequence[Standing]) -> list[str]:
    runs = [run for each in scored for run in _runs(each)]
    return sorted({" ".join(filter(None, map(run.environment.get, ("device", "cpu")))) for run in runs})


def _runs(standing: Standing) -> list:
    """The runs of elfatt and of the best other mechanism."""
    cells = [row.cells[standing.column] for row in (standing.ours, standing.best) if row]
    return [run for cell in cells if cell for run in cell.runs]


def _missing(claim: Claim, timed: Sequence[Factor], scored: Sequence[Standing]) -> list[str]:
    """The missing measurements, each with the commands that make it, one line each."""
    found = []
    if claim.speed and not any(each.on_gpu for each in timed):
        what = MISSING if claim.speed.devices or not timed else f"{MISSING} on a GPU"
        found.append(f"Speed: {what}. {_would(claim.speed.command)}")
    if claim.accuracy:
        preset = claim.accuracy.presets[0]
        done = {each.task.task for each in scored if each.board.preset == preset and each.rivals}
        left = [task for task in claim.accuracy.tasks if task not in done]
        if left:
            commands = [claim.accuracy.command.replace("{task}", t).replace("{preset}", preset) for t in left]
            found.append(f"Preset {preset}, elfatt beside others, on {', '.join(left)}: {MISSING}. {_would(*commands)}")
    if claim.open:
        found.append(f"{in_markdown(claim.open, LONG)}: {MISSING}. {_would()}")
    if claim.plan:
        found.append(f"Plan: {in_markdown(claim.plan.strip(), LONG)}")
    if claim.near:
        found.append(f"A related measurement, which does not test the claim: [{in_markdown(claim.near)}]({claim.near})")
    return found


def _would(*commands: str) -> str:
    given = [in_code(each, LONG) for each in commands if each]
    return f"To measure it: {'; '.join(given)}" if given else "No command here measures it."


def _section(claim: Claim, timed: Sequence[Factor], scored: Sequence[Standing]) -> list[str]:
    parts = [
        f'<a id="{claim.id}"></a>\n## {in_markdown(claim.title)}',
        f"The paper: {in_markdown(claim.claim, LONG)}. {claim.differs.strip()}",
    ]
    if timed:
        head = ("elfatt", "against", "step", "tokens", "batch", "heads", "backend", "times as fast", "quartiles")
        parts += [SPEED, pipe_table((*head, "device", "record"), [_factor(each) for each in timed])]
    if scored:
        head = ("preset", "task", "backend", "elfatt", "best other", "rivals", "not distinguishable from the best")
        parts += [ACCURACY, pipe_table(head, [_standing(each) for each in scored])]
    missing = _missing(claim, timed, scored)
    return [*parts, *(["\n".join(f"- {each}" for each in missing)] if missing else [])]


def _factor(each: Factor) -> tuple[str, ...]:
    record, spread = each.record, each.ratio.spread
    step = f"{record.what}, documents of {record.documents}" if record.documents else record.what
    return (
        in_code(each.ours.label),
        in_code(each.theirs.label),
        in_markdown(step),
        in_markdown(tokens(each.ours)),
        f"{each.ours.batch:,}",
        f"{record.heads} of {record.head_dim}",
        each.ours.backend,
        f"{number(spread.median)}{' !' if each.doubtful else ''}",
        quartiles(spread),
        in_markdown(each.device),
        f"[{in_markdown(record.started[:10])}](bench/{each.file})",
    )


def _standing(each: Standing) -> tuple[str, ...]:
    text = partial(_score, each)
    best = f"{in_code(each.best.name)} {text(each.best)}" if each.best else NONE
    among = ("yes" if each.among_best else "no") if each.rivals else NONE
    task = in_markdown(f"{each.task.task} v{each.task.version}: {each.task.data}, data {each.task.data_hash[:8]}")
    start = (each.board.preset, task, each.ours.backend, text(each.ours))
    return (*start, best, f"{each.rivals}", among)


def _score(standing: Standing, row: Row) -> str:
    return score(row.cells[standing.column], standing.board.estimate(row, standing.column))
