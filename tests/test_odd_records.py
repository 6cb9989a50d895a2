"""No odd file takes the others: whatever a part of a record is, tables and the page take it or name its file."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from board_records import made, put, write_few, write_timing

from attention_impls.saved import record_checksum
from lra.cli.main import main
from lra.core.config import from_dict
from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.core.markup import one_line
from lra.leaderboard import page as leaderboard
from lra.leaderboard.sheets import fields, to_csv, to_json
from lra.report import command as report
from lra.report.runs import identities
from lra.scores import board, speeds
from lra.scores.tables import grid, latex, markdown
from lra.sweep.estimate import Known
from lra.training import record

MISSING = object()
NASTY = "=|<script>`x`*_[a](b)$\\n{^~&amp;\"'%zz"


def deep(levels: int) -> Any:
    """A list in a list in a list …"""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**18, 10**30, 10**400, 1e308, 5e-324, 0.5, "", "x", NASTY, "a\nb", "\ud800", "x" * 5_000),
    *([], {}, [1], ["x"], [None], {"x": None}, {"": [1]}, deep(90), deep(600), MISSING),
)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where each part of a value stands; of long lists the first and the last."""
    if path:
        yield path
    keys = list(value) if isinstance(value, dict) else [0, len(value) - 1] if isinstance(value, list) and value else []
    for key in dict.fromkeys(keys):
        yield from places(value[key], (*path, key))


def changed(values: Any, path: tuple, odd: Any) -> Any:
    """A copy with one part at another value, or without it."""
    values = copy.deepcopy(values)
    part = values
    for key in path[:-1]:
        part = part[key]
    if odd is MISSING:
        del part[path[-1]]
    else:
        part[path[-1]] = odd
    return values


def write_odd(values: dict[str, Any], folder: Path, draws: random.Random, of_each: int) -> int:
    """A file for some odd values of each part, and some files with a cut or a wrong byte; how many they are."""
    texts = [
        _text(changed(values, path, odd))
        for path in places(values)
        for odd in draws.sample(ODD, min(of_each, len(ODD)))
    ]
    whole = _text(values)
    for _ in range(60):
        at = draws.randrange(len(whole))
        texts += [whole[:at], whole[:at] + chr(draws.randrange(128)) + whole[at + 1 :]]
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"odd-{number}.json").write_text(text)
    return len(texts)


def _text(values: Any) -> str:
    try:
        sealed = values | {"checksum": record_checksum(values)} if "checksum" in values else values
    except (UnicodeEncodeError, RecursionError):
        sealed = values
    return json.dumps(sealed)


def shown(results: Path) -> tuple[dict[str, str], list[str]]:
    """What these results look like in every form; and what is said of the files that are left out."""
    records, complaints = board.read(results)
    timed, more = speeds.read(results)
    boards = board.boards(records, speeds.choose(timed))
    rows = [row for each in boards for row in fields(each)]
    tables = [grid(each) for each in boards]
    found = {
        "md": "\n".join([*map(markdown, tables), leaderboard.page(boards, [], {})]),
        "latex": "\n".join(map(latex, tables)),
        "csv": to_csv(rows),
        "json": to_json(rows),
        "html": report.page(boards, identities(records), []),
    }
    assert all(line.isprintable() and ".json" in line for line in map(one_line, complaints + more))
    return found, complaints + more


def committed(schema: int) -> dict[str, Any]:
    """A record of the repository, or one as it would be written today."""
    for path in sorted((ROOT / "results" / "runs").glob("*-elfatt-*quick*.json")):
        if (values := json.loads(path.read_text()))["schema"] == schema:
            return values
    return asdict(record.sealed(made("listops", "elfatt", 0.5, switches={"x64": False})))


@pytest.mark.parametrize("schema", [1, 2])
def test_an_odd_part_of_a_record_is_taken_or_its_file_is_named(schema: int, tmp_path: Path) -> None:
    write_few(tmp_path)
    count = write_odd(committed(schema), tmp_path / "runs", random.Random(schema), 4)
    found, lines = shown(tmp_path)
    runs = int(re.findall(r"([\d,]+) runs, each", found["html"])[0].replace(",", ""))
    other_presets = count + 5 - runs - len(lines)  # "preset" at another text is a record of no table
    assert 0 <= other_presets <= 4
    run = from_dict(committed(schema)["config"], "a record")
    assert "earlier run" in Known.of(tmp_path, on_gpu=False).estimate(run).source
    assert len(lines) > count / 2
    assert runs > 20
    assert "52.0 ± 2.0 (3)" in found["md"]


def test_an_odd_part_of_a_bench_record_is_taken_or_its_file_is_named(tmp_path: Path) -> None:
    write_few(tmp_path)
    path = sorted((ROOT / "results" / "bench").glob("train-*.json"))[-1]
    values = json.loads(path.read_text())
    values |= {"cells": values["cells"][:2], "ceilings": values["ceilings"][:1]}
    count = write_odd(values, tmp_path / "bench", random.Random(3), 4)
    _, lines = shown(tmp_path)
    assert len(lines) > count / 2
    assert len(speeds.read(tmp_path)[0]) > 50


def test_a_file_that_is_no_file_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_few(tmp_path) / "runs"
    os.mkfifo(folder / "fifo.json")
    (folder / "device.json").symlink_to("/dev/zero")
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "nowhere.json").symlink_to("none")
    (folder / "folder.json").mkdir()
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "two\nlines.json").write_text("{}")
    Path(os.fsdecode(os.fsencode(folder) + b"/bytes\xff.json")).write_text("{}", encoding="utf-8")
    assert main(["leaderboard", "--results", str(tmp_path), "--format", "md"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 8
    assert all(line.startswith("left out: ") for line in lines)
    said = "\n".join(lines)
    for name, why in (("fifo", "a pipe or a device"), ("device", "a pipe or a device"), ("deep", "nested too deep")):
        assert re.search(rf"{name}\.json.*{why}", said)


def test_a_name_is_no_markup_no_formula_and_no_path(tmp_path: Path) -> None:
    write_few(tmp_path)
    facts = {"device": NASTY, "cpu": NASTY, "framework": f"@{NASTY}"}
    odd = asdict(made("listops", "softmax", 0.3, data_hash="../../../etc", validation=NASTY, environment=facts))
    odd |= {"attn": f"/a/{NASTY.replace('/', '')}", "options": {"=|`": "|`\n<b>"}, "data": NASTY}
    odd |= {"git": {"commit": "+1", "clean": True}, "references": {"chance": 0.1, NASTY: 0.2}}
    put(odd, tmp_path / "runs" / "nasty.json")
    write_timing(tmp_path, "softmax", 0.1, device=NASTY)
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    page = (tmp_path / "LEADERBOARD.md").read_text()
    found, _ = shown(tmp_path)
    ours = page.split("## Published")[0]
    for table in re.findall(r"(?:^\|.*\n)+", ours, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    for text in (ours, found["md"]):
        assert not re.search(r"<(?!br>)|\]\(b\)", re.sub(r"(`+)[^`].*?(?<!`)\1(?!`)", "", text).replace(r"\](b)", ""))
    assert "<script>`" not in found["html"]
    assert "<b>" not in found["html"].split("<script>")[1]
    cells = [cell for row in csv.reader(io.StringIO((tmp_path / "leaderboard.csv").read_text())) for cell in row]
    assert [cell for cell in cells if cell[:1] in "=+-@" and cell and not re.fullmatch(r"[-+]?[0-9.e+-]+", cell)] == []
    assert any(cell.startswith("'+1") for cell in cells)
    body = found["latex"].replace(r"$\pm$", "").replace(r"$\times$", "").replace(r"$^\dagger$", "")
    assert re.findall(r"(?<!\\)[$#%_^~]", body.replace("% Preset", "")) == []
    inside = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert all(re.fullmatch(r"[\w./-]+", name) for name in inside)
    assert not any(".." in name for name in inside)


def test_a_record_is_saved_under_a_name_of_plain_signs(tmp_path: Path) -> None:
    path = record.save(replace(made("listops", "softmax", 0.3), attn="/a/b|c d%"), tmp_path)
    assert path.name.startswith("listops-b-c-d--torch-quick-s0-")
    assert record.load(path).attn == "/a/b|c d%"


def test_half_a_character_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not written"):
        record.save(made("listops", "softmax", 0.3, command="\ud800"), tmp_path)
    write_atomically(b"{}", tmp_path / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
