"""The gates of the recurrent state."""

from __future__ import annotations

import numpy as np

from forecast.models.kernels.arithmetic import sigmoid, tanh
from forecast.models.machine_code import ONE, Floats, compiled


@compiled
def recur(
    from_input: Floats, from_before: Floats, bias: Floats, bias_before: Floats, before: Floats
) -> Floats:
    """The next state ``[N, D]`` of a gated recurrent unit; see `torch.nn.GRUCell`.

    Args:
        from_input: Its input times the weights of reset, update and new gate ``[N, 3 * D]``; holds
            the gates themselves afterwards.
        from_before: Its state times theirs.
        bias: Of the first ``[3 * D]``.
        bias_before: Of the second.
        before: Its state ``[N, D]``.
    """
    after, width = np.empty_like(before), before.shape[1]
    for n in range(len(before)):
        gates, old = from_input[n], from_before[n]
        for d in range(2 * width):
            gates[d] = sigmoid(gates[d] + old[d] + bias[d] + bias_before[d])
        reset, keep, new = gates[:width], gates[width : 2 * width], gates[2 * width :]
        for d in range(width):
            v = d + 2 * width
            new[d] = tanh(new[d] + bias[v] + reset[d] * (old[v] + bias_before[v]))
        for d in range(width):
            after[n, d] = new[d] + keep[d] * (before[n, d] - new[d])
    return after


@compiled
def recur_back(
    gates: Floats, from_before: Floats, bias_before: Floats, before: Floats, gradient: Floats
) -> tuple[Floats, Floats]:
    """Gradients of ``from_input`` of `recur` ``[N, 3 * D]``, and of its state beside the gates.

    That of ``from_before`` is the same, with the new gate's part times the reset gate.

    Args:
        gates: Reset, update and new gate ``[N, 3 * D]``.
        from_before: As `recur`.
        bias_before: As `recur`.
        before: As `recur`.
        gradient: Of the next state ``[N, D]``.
    """
    of_input, of_state, width = np.empty_like(gates), np.empty_like(before), before.shape[1]
    for n in range(len(before)):
        reset, keep, new = gates[n, :width], gates[n, width : 2 * width], gates[n, 2 * width :]
        of_reset, of_keep = of_input[n, :width], of_input[n, width : 2 * width]
        of_new, old = of_input[n, 2 * width :], from_before[n, 2 * width :]
        for d in range(width):
            of_new[d] = gradient[n, d] * (ONE - keep[d]) * (ONE - new[d] * new[d])
        for d in range(width):
            given = of_new[d] * (old[d] + bias_before[d + 2 * width])
            of_reset[d] = given * reset[d] * (ONE - reset[d])
        for d in range(width):
            more = gradient[n, d] * (before[n, d] - new[d])
            of_keep[d] = more * keep[d] * (ONE - keep[d])
        for d in range(width):
            of_state[n, d] = gradient[n, d] * keep[d]
    return of_input, of_state
