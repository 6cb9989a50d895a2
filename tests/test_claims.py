"""The page of claims: what is taken from the records, what is left out, and what is not measured."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tyro
from bench_records import bench_record, timing
from board_records import made

from lra.bench.plan import make_plan
from lra.bench.record import BenchRecord
from lra.cli.bench import BenchFlags
from lra.cli.main import main
from lra.core.errors import UserError
from lra.leaderboard.claims import MISSING, page
from lra.scores import board, claims
from lra.scores.claims import Claim, Claims, SpeedClaim

SPEED = SpeedClaim(against=["softmax"], what=["train"], command="the command")
CLAIMS = claims.load()
COMMANDS = [
    command.replace("{task}", "listops").replace("{preset}", "standard")
    for each in CLAIMS.claims
    for command in (each.speed and each.speed.command, each.accuracy and each.accuracy.command)
    if command
]


def record(*cells: tuple[str, list[float]], device: str = "cpu", **changes: Any) -> BenchRecord:
    """A training benchmark of these cells at 64 tokens; a label's options are told as `softmax@local_conv=True`."""
    given = []
    for label, seconds in cells:
        attn, _, option = label.partition("@")
        name, _, value = option.partition("=")
        options = {name: {"True": True, "0.0": 0.0, "64": 64}[value]} if name else {}
        given.append(timing(label, 64, seconds, attn=attn, options=options))
    facts = {"torch": {"framework": "torch 1", "device": device}}
    environment = {"cpu": "a CPU", "cores": 2, "timing": "alone", "backends": facts}
    return bench_record(**{"what": "train", "cells": given, "environment": environment} | changes)


def found(*records: BenchRecord, claim: SpeedClaim = SPEED) -> list[claims.Factor]:
    return claims.factors(claim, [(f"{number}.json", each) for number, each in enumerate(records)])


def test_a_factor_is_the_median_of_the_rounds_whatever_the_record_compares() -> None:
    (each,) = found(record(("softmax", [6.0, 4.0, 1.0]), ("elfatt", [2.0, 2.0, 2.0]), compare=[]))
    assert each.ratio.spread.median == 2.0
    assert (each.ratio.spread.low, each.ratio.spread.high) == (1.25, 2.5)


def test_controls_other_steps_and_other_rivals_are_left_out_and_a_block_size_is_not() -> None:
    pairs = [(label, [1.0, 1.0]) for label in ("elfatt@global_share=0.0", "softmax", "flash")]
    assert found(record(*pairs)) == []
    assert found(record(("elfatt", [1.0, 1.0]), ("softmax@local_conv=True", [1.0, 1.0]))) == []
    assert found(record(("elfatt", [1.0, 1.0]), ("softmax", [1.0, 1.0]), what="infer")) == []
    assert len(found(record(("elfatt@block_size=64", [1.0, 1.0]), *pairs))) == 1


def test_the_newest_measurement_of_one_thing_counts() -> None:
    old, new = (
        record(("elfatt", [1.0, 1.0]), ("softmax", [factor, factor]), started=f"2026-01-0{day}")
        for day, factor in ((1, 2.0), (2, 3.0))
    )
    assert [each.ratio.spread.median for each in found(new, old)] == [3.0]
    other = record(("elfatt", [1.0, 1.0]), ("softmax", [5.0, 5.0]), device="a GPU", started="2026-01-01")
    assert [each.ratio.spread.median for each in found(new, other)] == [5.0, 3.0]


def listed(**changes: Any) -> Claims:
    values: dict[str, Any] = {"id": "one", "title": "One", "claim": "2× as fast", "differs": "Much.", **changes}
    claim = Claim(**values)
    return Claims(source="A paper", claims=[claim])


@pytest.mark.parametrize(
    ("devices", "device", "told"),
    [
        ([], "a GPU", None),
        ([], "cpu", "Speed: not measured yet on a GPU. To measure it: `the command`"),
        (["Orin"], "Orin", None),
        (["Orin"], "a GPU", "Speed: not measured yet. To measure it: `the command`"),
    ],
)
def test_what_is_not_measured_on_the_claims_device_is_told_with_its_command(
    devices: list[str], device: str, told: str | None
) -> None:
    speed = SpeedClaim(against=["softmax"], what=["train"], command="the command", devices=devices)
    timed = record(("elfatt", [4.0, 4.0]), ("softmax", [1.0, 1.0]), device=device)
    text = page(listed(speed=speed), [("a.json", timed)], [])
    shown = not devices or "Orin" in device
    assert ("against `softmax`, train, torch: 0.250× (0.250–0.250) at 64 tokens" in text) == shown
    assert ("(bench/a.json)" in text) == shown
    assert (MISSING in text) == (told is not None)
    assert told is None or f"- {told}\n" in text


def test_accuracy_stands_beside_the_best_other_of_the_same_framework() -> None:
    accuracy = claims.AccuracyClaim(tasks=["listops"], presets=["standard", "quick"], command="train {task} {preset}")
    runs = [made("listops", "elfatt", 0.50, seed) for seed in range(2)]
    runs += [made("listops", "elfatt", 0.99, options={"global_share": 0.0}), made("text", "softmax", 0.9)]
    alone = page(listed(accuracy=accuracy), [], board.boards(runs, None))
    assert "quick (undertrained, not a ranking), torch: no other mechanism in listops" in alone
    runs += [
        made("listops", "softmax", 0.60),
        made("listops", "linear", 0.2),
        made("listops", "s4d", 0.9, backend="jax"),
    ]
    text = page(listed(accuracy=accuracy), [], board.boards(runs, None))
    assert "| torch | 50.0 ± 1.1† (2) | `softmax` 60.0 ± 1.1† (1) | 2 | no |" in text
    assert "torch: not distinguishable from the best in 0 of 1 tasks (2 rivals)" in text
    assert "- Preset standard, elfatt beside others, on listops: not measured yet" in text
    assert "To measure it: `train listops standard`" in text
    assert "3 runs |" in text


def test_a_claim_about_shapes_takes_those_alone_and_never_two_of_them_together() -> None:
    claim = replace(SPEED, shapes=["vit-s-"])
    plain = record(("elfatt", [1.0, 1.0]), ("softmax", [2.0, 2.0]))
    shaped = [replace(cell, shape=shape) for shape in ("vit-s-9", "sd-9") for cell in plain.cells]
    assert found(plain, claim=claim) == []
    assert [each.ours.shape for each in found(replace(plain, cells=shaped), claim=claim)] == ["vit-s-9"]
    assert {each.ours.shape for each in found(replace(plain, cells=shaped))} == {"sd-9", "vit-s-9"}
    assert found(replace(plain, cells=[shaped[0], shaped[3]])) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_would_measure_a_claim_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    assert words[:2] == ["python", "run_lra.py"]
    if words[2] == "bench":
        flags = tyro.cli(BenchFlags, args=words[3:])
        assert make_plan(flags, "cpu").cells
        assert flags.device == "gpu"
    else:
        one = ["elfatt" if word == "all" else word for word in words[2:]]
        assert main([*one, "--print-config"]) == 0, capsys.readouterr().err


def test_a_plan_and_a_page_near_a_claim_stand_with_what_is_not_measured() -> None:
    text = page(listed(open="Power", plan="Measure it.\n", near="evidence/swap.md"), [], [])
    assert "- Power: not measured yet. No command here measures it.\n- Plan: Measure it.\n" in text
    assert "- A related measurement, which does not test the claim: [evidence/swap.md](evidence/swap.md)" in text
    for each in CLAIMS.claims:
        assert not each.near or (claims.PATH.parent / each.near).is_file(), each.near


def test_the_claims_hold_the_papers_figures_and_no_decimals_but_those() -> None:
    stated = {"vision-softmax": "4–7×", "vision-flash": "2–3×", "lra-speed": "1.2–2.3×", "edge": "1.6–2.0×"}
    for each in CLAIMS.claims:
        assert stated.get(each.id, "") in each.claim
        assert not re.search(r"\d\.\d|\d×", each.differs + each.open)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a mapping with source and claims"),
        ("source: a\nclaims: [{id: a, title: b}]", "missing"),
        ("source: a\nclaims: [{id: a, title: b, claim: c, differs: d}]", "a: expected one of speed, accuracy and open"),
        (
            "source: a\nclaims:\n- id: a\n  title: b\n  claim: c\n  differs: d\n"
            "  accuracy: {tasks: [], presets: [], command: e}",
            "has no presets",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        claims.load(path)
