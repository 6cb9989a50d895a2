"""Are our 32×32 hard images those of the original generator? Prints a Markdown table; needs LRA_RAW for the originals.

    LRA_RAW=<folder> python -m tests.evidence.pathfinder

The originals are 1,200 images made by the original program with the Long Range Arena's arguments. Three wrong
generators stand beside ours, so that it can be seen what the tests would notice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tasks.pathfinder.snakes.sampler import DrawnImages, generate
from tasks.pathfinder.snakes.settings import Settings, settings_for
from tests.evidence.comparison import Told, compare, holm, per_image, same

OURS = "ours"
COUNT = 4800
SEED = 2026

# Means of the original program's output and their standard errors: the first five over 2,400 images, the last two over
# 120. Those that were given without a spread take that of our own images.
FIGURES: dict[str, tuple[float, int]] = {
    "label": (0.507, 2400),
    "mean": (20.17, 2400),
    "share above 0": (0.342, 2400),
    "share above 64": (0.126, 2400),
    "share at 255": (0.0022, 2400),
    "restarts": (294.0, 120),
    "distractors": (1.28, 120),
}
# Half a unit of the last digit given.
ROUNDING = {"label": 5e-4, "mean": 5e-3, "share above 0": 5e-4, "share above 64": 5e-4, "share at 255": 5e-5}


def generators() -> dict[str, Settings]:
    """Ours, and three that are wrong on purpose."""
    right = settings_for(32)
    return {
        OURS: right,
        "repairs instead of starting again": replace(right, repair=True),
        "masks enter at once": replace(right, prompt_masks=True),
        "curves may start in every direction": replace(right, every_direction=True),
    }


def originals(raw: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    with np.load(raw / "pathfinder" / "pathfinder32_hard_reference.npz") as data:
        return data["images"], data["labels"]


def against_figures(made: DrawnImages) -> dict[str, tuple[float, float, float]]:
    """Our mean, the original's, and their difference in standard errors (of both means, less the rounding)."""
    ours = per_image(made.images, made.labels) | {
        "restarts": made.restarts.astype(float),
        "distractors": made.distractors.astype(float),
    }
    table = {}
    for name, (figure, count) in FIGURES.items():
        values = ours[name]
        error = values.std() * np.sqrt(1 / count + 1 / len(values))
        beyond = max(0.0, abs(values.mean() - figure) - ROUNDING.get(name, 0.0))
        table[name] = (float(values.mean()), figure, float(np.sign(values.mean() - figure) * beyond / error))
    return table


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the tests say of one generator.

    p values of the statistics; the held-out accuracy of a network; restarts against the figure; p values that the
    originals look like this generator's images to networks that know one of the faults.
    """

    p: dict[str, float]
    told: Told
    restarts: tuple[float, float, float]
    likeness: list[float]

    @property
    def caught(self) -> list[str]:
        """What speaks against the generator: p below 1 %, an interval above one half, four standard errors."""
        signs = {
            "statistics": min(holm(self.p).values()) < 0.01,
            "network": self.told.interval[0] > 0.5,
            "likeness": min(self.likeness) * len(self.likeness) < 0.01,
            "restarts": abs(self.restarts[2]) > 4,
        }
        return [name for name, sign in signs.items() if sign]


def judge(raw: Path) -> dict[str, Verdict]:
    """Every generator against the originals."""
    from tests.evidence.classifier import likeness, tell_apart  # PyTorch; the rest of this module needs no framework

    images, labels = originals(raw)
    numbers = per_image(images, labels)
    made = {name: generate(chosen, SEED, "train", 0, COUNT) for name, chosen in generators().items()}
    fresh = {name: generate(chosen, SEED, "test", 0, COUNT).images for name, chosen in generators().items()}
    like: dict[str, list[float]] = {name: [] for name in made}
    for name in list(made)[1:]:
        samples = (images, fresh[OURS], fresh[name])
        theirs, ours, wrong = likeness(made[OURS].images, made[name].images, samples)
        like[OURS].append(same(theirs, ours))
        like[name].append(same(theirs, wrong))
    return {
        name: Verdict(
            p=compare(numbers, per_image(sample.images, sample.labels)),
            told=tell_apart(images, sample.images),
            restarts=against_figures(sample)["restarts"],
            likeness=like[name],
        )
        for name, sample in made.items()
    }


def report(raw: Path) -> str:
    """The tables as Markdown."""
    made = generate(settings_for(32), SEED, "train", 0, COUNT)
    lines = [
        "# Pathfinder 32×32 hard: our generator beside the original",
        "",
        f"{COUNT:,} images of ours (seed {SEED}). The difference is in standard errors of both means.",
        "",
        "| mean over images | ours | original | difference |",
        "|---|---|---|---|",
        *(f"| {name} | {a:.4g} | {b:.4g} | {z:+.1f} |" for name, (a, b, z) in against_figures(made).items()),
        "",
        "Against 1,200 original images, for our generator and for three that are wrong on purpose:",
        "",
        "- p of two-sample tests on numbers of an image (Kolmogorov–Smirnov, Fisher for the label), and the smallest "
        "after Holm's adjustment;",
        "- how often a small convolutional network tells originals from others, every image held out once in five "
        "folds (95 % interval);",
        f"- likeness: a network learns to tell {COUNT:,} of our images from as many of a wrong generator. The p "
        "asks whether the originals get the same scores as fresh images of each.",
        "",
    ]
    return "\n".join(lines + _verdicts(judge(raw)))


def _verdicts(verdicts: dict[str, Verdict]) -> list[str]:
    rows = [("", list(verdicts))]
    rows += [(name, [f"{v.p[name]:.2g}" for v in verdicts.values()]) for name in verdicts[OURS].p]
    rows += [
        ("smallest p, adjusted", [f"{min(holm(v.p).values()):.2g}" for v in verdicts.values()]),
        (
            "network",
            [f"{v.told.share:.1%} ({v.told.interval[0]:.1%}–{v.told.interval[1]:.1%})" for v in verdicts.values()],
        ),
        ("likeness", [", ".join(f"{p:.2g}" for p in v.likeness) for v in verdicts.values()]),
        ("restarts an image (original 294)", [f"{v.restarts[0]:.4g}" for v in verdicts.values()]),
        ("**caught by**", [", ".join(v.caught) or "nothing" for v in verdicts.values()]),
    ]
    lines = [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]
    return [lines[0], "|---|" + "---|" * len(verdicts), *lines[1:]]


if __name__ == "__main__":
    folder = os.environ.get("LRA_RAW")
    if not folder:
        raise SystemExit("LRA_RAW is not set: name the folder that holds pathfinder/pathfinder32_hard_reference.npz")
    print(report(Path(folder)))
