"""Flow attention in NumPy, float64, from Wu et al. 2022, section 3.2, one head at a time."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Layer
from attention_impls.flow import EPSILON, Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, sigmoid, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            sinks, sources = sigmoid(q[:, h]), sigmoid(k[:, h])
            inflow = (sinks + EPSILON) @ (sources.sum(0) + EPSILON)  # eq. (flow)
            outflow = (sources + EPSILON) @ (sinks.sum(0) + EPSILON)  # eq. (flow)
            conserved_inflow = (sinks + EPSILON) @ ((sources / outflow[:, None]).sum(0) + EPSILON)  # eq. (conserved)
            conserved_outflow = (sources + EPSILON) @ ((sinks / inflow[:, None]).sum(0) + EPSILON)  # eq. (conserved)
            competed = v[:, h] * (len(v) * softmax(conserved_outflow, 0))[:, None]
            aggregated = (sinks @ sources.T) @ competed / inflow[:, None]
            out[:, h] = sigmoid(conserved_inflow)[:, None] * aggregated  # eq. (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
