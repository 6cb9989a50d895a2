"""Preset s4: sizes, parameters, schedule, groups and milestones are those of S4's published configurations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from board_records import made

import tasks
from lra.core.config import Run, as_dict, from_dict, resolve
from lra.core.errors import UserError
from lra.core.presets import SOME, milestones, presets_of
from lra.model.groups import Setting, setting
from lra.model.schedule import schedule
from lra.model.weights import initial_weights, learned, parameter_count
from lra.scores import board, overrides
from lra.scores.tables import heading
from lra.terminal.flags import command_of
from lra.training.history import History
from lra.training.screen import TrainingScreen, milestones_of
from lra.training.trainer import make_blueprint

PRESET = "s4"
# As published: rows of the embedding, numbers of the whole model, of a layer, peak rate, rate of the step size, batch,
# steps, warm-up, steps of the cosine, place of the norm.
PUBLISHED: dict[str, tuple[Any, ...]] = {
    "listops": (18, 815_186, 134_668, 0.01, 0.01, 32, 120_000, 12_000, 120_000, "post"),
    "text": (135, 843_594, 134_668, 0.01, 0.01, 16, 50_000, 5_000, 50_000, "pre"),
    "retrieval": (98, 1_096_522, 134_668, 0.01, 0.01, 64, 45_980, 5_000, 50_000, "pre"),
    "image": (0, 3_564_682, 593_088, 0.01, 0.001, 50, 180_000, 18_000, 180_000, "post"),
    "pathfinder": (0, 1_288_706, 214_528, 0.004, 0.001, 64, 500_000, 50_000, 500_000, "pre"),
    "pathx": (0, 1_288_706, 214_528, 0.001, 0.001, 16, 500_000, 50_000, 500_000, "pre"),
}
LATER = {"listops": (10, 0.5), "text": (10, 0.8), "retrieval": (10, 0.8), "image": (20, 0.8), "pathfinder": (20, 0.9),
         "pathx": (10, 0.92)}  # fmt: skip
each_task = pytest.mark.parametrize("task", PUBLISHED)


def recipe(task: str, attn: str = "s4") -> Run:
    return resolve(task, attn, preset=PRESET)


@each_task
def test_models_have_the_published_numbers_of_parameters(task: str) -> None:
    """Text and Retrieval with as many rows as theirs, whose tokens are characters that occur often."""
    rows, whole, layer = PUBLISHED[task][:3]
    run = recipe(task)
    assert run.model.depth == 6
    model = replace(run.model, depth=1)  # of six equal layers
    plan = make_blueprint(replace(run, model=model), tasks.load(task))
    short = replace(plan, dims=replace(plan.dims, max_length=64, grid=None))  # the same numbers, made sooner
    weights = learned(initial_weights(short))
    surplus = (model.vocabulary - rows) * model.width if rows else 0
    assert sum(array.size for name, array in weights.items() if name.startswith("layers.0.")) == layer
    assert parameter_count(weights) - surplus == whole - 5 * layer


@each_task
def test_the_schedule_is_the_published_one(task: str) -> None:
    *_, peak, _, batch, steps, warmup, total, norm = PUBLISHED[task]
    train, model = recipe(task).train, recipe(task).model
    assert (train.batch_size, train.steps, train.warmup, train.cycle or train.steps) == (batch, steps, warmup, total)
    assert (model.norm, model.depth, model.positions, model.ffn, model.projection) == (norm, 6, "none", 0, False)
    assert (train.beta1, train.beta2, train.epsilon, train.weight_decay) == (0.9, 0.999, 1e-8, 0.05)
    at = np.array([0, warmup // 2, warmup, (warmup + total) // 2, steps - 1])
    last = (1 + np.cos(np.pi * (steps - 1 - warmup) / (total - warmup))) / 2
    np.testing.assert_allclose(schedule(train)(at), peak * np.array([0, 0.5, 1, 0.5, last]), rtol=1e-9)
    assert last < (0.02 if task == "retrieval" else 1e-8)


@each_task
def test_groups_have_the_published_rates_and_decays(task: str) -> None:
    _, _, _, peak, of_step, *_ = PUBLISHED[task]
    plan = make_blueprint(recipe(task), tasks.load(task))
    main = Setting(factor=1.0, decay=0.05)
    free = main._replace(decay=0.0)
    expected = {
        **dict.fromkeys(("log_decay", "frequency", "p.real", "p.imag", "b.real", "b.imag"), (1e-3, 0.0)),
        "step": (of_step, 0.0),
        **dict.fromkeys(("c.real", "c.imag", "skip", "glu.weight"), (peak, 0.05)),
        "glu.bias": (peak, 0.0),
    }
    for name, (rate, decay) in expected.items():
        own = setting(plan, f"layers.0.attention.{name}")
        assert (own.factor * peak, own.decay) == (pytest.approx(rate), decay), name
    assert {setting(plan, f"layers.5.attention_norm.{kind}") for kind in ("scale", "bias")} == {free}
    assert {setting(plan, name) for name in ("classifier_out.bias", "classifier_out.kernel", "pixels.bias")} == {main}


def test_images_are_numbers_and_drop_whole_channels() -> None:
    image, pathfinder = recipe("image").model, recipe("pathfinder").model
    assert (image.pixels, image.pixel_mean, image.pixel_std) == ("continuous", 122.6, 61.0)
    assert (pathfinder.pixels, pathfinder.pixel_mean, pathfinder.pixel_std) == ("continuous", 0.0, 255.0)
    assert (image.dropout, image.tied_dropout, image.embedding_dropout, pathfinder.dropout) == (0.1, True, 0.0, 0.0)


def test_it_sets_the_options_of_s4_and_a_person_others() -> None:
    assert (recipe("listops").options.state, recipe("listops").options.systems) == (4, 1)
    assert (recipe("pathx").options.state, recipe("pathx").options.systems) == (64, 0)
    assert recipe("pathx").options.step_min == 1e-4
    assert recipe("listops", "s4@state=8").options.state == 8
    assert recipe("listops", "s4@state=8").options.systems == 1
    assert recipe("listops", "s4d").options.state == 64
    assert "--attn." not in command_of(recipe("listops"))
    assert "--attn.state 8" in command_of(recipe("listops", "s4@state=8"))
    assert from_dict(as_dict(recipe("image")), "here") == recipe("image")


def test_every_mechanism_that_takes_x_has_its_rates_there() -> None:
    run = recipe("text", "sgconv")
    assert (run.train.kernel_rate, run.train.state_rate) == (1e-3, None)


def test_other_tasks_lack_it_and_say_so() -> None:
    assert {task for task in tasks.names() if PRESET in presets_of(task)} == set(PUBLISHED)
    with pytest.raises(UserError, match=r"^task path256 has no preset s4: available: smoke, quick, standard$"):
        resolve("path256", "s4", preset=PRESET)
    assert SOME == (PRESET,)


@each_task
def test_milestones_stand_at_the_authors_epochs(task: str) -> None:
    epoch, accuracy = LATER[task]
    [found] = milestones(task, PRESET)
    assert (found.epoch, found.accuracy) == (epoch, accuracy)
    examples = {"text": 25_000, "retrieval": 147_086, "listops": 96_000, "image": 45_000}.get(task, 160_000)
    assert found.step == pytest.approx(epoch * examples / recipe(task).train.batch_size, abs=epoch)
    assert milestones(task, "quick") == ()


def test_a_milestone_is_told_at_the_start_and_when_it_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    run = recipe("listops")
    screen, history = TrainingScreen(run), History()
    facts = {"framework": "torch", "framework_threads": 1, "device": "cpu", "precision": "float32", "parameters": 1}
    screen.starts(history, facts)
    assert "S4 has 50% here by epoch 10: step 30,000" in capsys.readouterr().out
    history.curve.append([3000, 1.0, 0.4, 1.0, 0.4321])
    for step, told in ((27_000, False), (30_000, True), (33_000, False)):
        history.step = step
        screen.evaluates(history)
        assert ("S4 has 50% here by epoch 10; this run has 43.2%" in capsys.readouterr().out) == told
    screen.ends()
    assert milestones_of(replace(run, train=replace(run.train, batch_size=16))) == []
    assert milestones_of(resolve("listops", "s4", preset="quick")) == []


def test_its_records_have_a_board_of_their_own() -> None:
    run = recipe("listops")
    own = made("listops", "s4", 0.55, preset=PRESET)
    assert own.options == as_dict(run)["options"]
    first, second = board.boards([made("listops", "s4", 0.4), own], None)
    assert (first.preset, second.preset) == (PRESET, "quick")
    assert "not reproduced yet" in heading(first)
    assert first.rows[0].words == ()
    other = replace(own, options={**own.options, "state": 8})
    assert overrides.words(other) == ("--attn.state", "8")
