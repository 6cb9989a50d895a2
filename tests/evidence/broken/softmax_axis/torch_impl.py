"""Queries over tokens and keys over features, where it is the other way round."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.evidence.broken import copy_of_elfatt, replace


def swapped(q: Tensor, k: Tensor, v: Tensor, real: Tensor | None) -> Tensor:
    """Efficient attention with its two axes exchanged; padding stays unseen."""
    if real is not None:
        q = q.masked_fill(~real[:, :, None, None], torch.finfo(q.dtype).min)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return (q.softmax(dim=2) @ (k.softmax(dim=3).mT @ v)).transpose(1, 2)


code = copy_of_elfatt()
replace(code, "efficient_attention", swapped)
attend = code.attend
