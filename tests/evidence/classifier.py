"""A small convolutional network that tells two kinds of 32×32 images apart, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tests.evidence.comparison import Told


def tell_apart(originals: np.ndarray, others: np.ndarray, *, folds: int = 5, epochs: int = 12, seed: int = 0) -> Told:
    """k-fold cross-validation of a small convolutional network on equally many images of each kind."""
    count = min(len(originals), len(others))
    x, y = _input(np.concatenate([originals[:count], others[:count]])), _kinds(count, count)
    fold = np.random.default_rng(seed).permutation(len(x)) % folds
    correct = 0
    for held in range(folds):
        train, test = torch.from_numpy(np.flatnonzero(fold != held)), torch.from_numpy(np.flatnonzero(fold == held))
        network = _train(x[train], y[train], epochs, seed + held)
        with torch.no_grad():
            correct += int((network(x[test]).argmax(1) == y[test]).sum())
    return Told(correct=correct, count=len(x))


def likeness(
    right: np.ndarray, wrong: np.ndarray, samples: Sequence[np.ndarray], *, epochs: int = 6, seed: int = 0
) -> list[np.ndarray]:
    """How much more each image of each sample is like `right` than like `wrong`, to a network trained on those two."""
    network = _train(_input(np.concatenate([wrong, right])), _kinds(len(wrong), len(right)), epochs, seed)
    with torch.no_grad():
        scores = [network(_input(sample)).numpy() for sample in samples]
    return [score[:, 1] - score[:, 0] for score in scores]


def _input(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images[:, None].astype(np.float32) / 255)


def _kinds(zeros: int, ones: int) -> torch.Tensor:
    return torch.cat([torch.zeros(zeros, dtype=torch.long), torch.ones(ones, dtype=torch.long)])


def _train(x: torch.Tensor, y: torch.Tensor, epochs: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
        layers += [torch.nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Dropout(0.3), torch.nn.Linear(64 * 16, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    return network.eval()
