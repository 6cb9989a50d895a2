"""Every position counts as a real token."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.evidence.broken import copy_of_elfatt, replace


def everything(lengths: Tensor, tokens: int) -> Tensor:
    """True at every position, as if there were no padding."""
    return torch.ones(len(lengths), tokens, dtype=torch.bool, device=lengths.device)


code = copy_of_elfatt()
replace(code, "real_tokens", everything)
attend = code.attend
