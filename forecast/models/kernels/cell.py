"""The gates of the recurrent state."""

from __future__ import annotations

import numpy as np

from forecast.machine_code import Floats, compiled
from forecast.models.kernels.arithmetic import sigmoid, tanh


@compiled
def recur(
    from_input: Floats, from_before: Floats, bias: Floats, bias_before: Floats, before: Floats
) -> Floats:
    """The next state ``[N, D]`` of a gated recurrent unit; see `torch.nn.GRUCell`.

    Args:
        from_input: Its input times the weights of reset, update and new gate ``[N, 3 * D]``.
        from_before: Its state times theirs.
        bias: Of the first ``[3 * D]``.
        bias_before: Of the second.
        before: Its state ``[N, D]``.
    """
    after, width = np.empty_like(before), before.shape[1]
    for n in range(len(before)):
        for d in range(width):
            u, v = d + width, d + 2 * width
            reset = sigmoid(from_input[n, d] + from_before[n, d] + bias[d] + bias_before[d])
            keep = sigmoid(from_input[n, u] + from_before[n, u] + bias[u] + bias_before[u])
            new = from_input[n, v] + bias[v] + reset * (from_before[n, v] + bias_before[v])
            new = tanh(new)
            after[n, d] = new + keep * (before[n, d] - new)
    return after
