"""The network, and what is computed from its futures.

The network is defined once, in torch: `types`, `neighbors`, `features`, `message_passing`,
`dynamics`, `world_model`, `rollout`, `reactive`, `forecaster`, with `losses` and `noise` (and
`sobol`). `programs` and `compile` make it fast; `threads` runs parts of it at the same time;
`machine_code` compiles loops with Numba. `selection` clusters samples, and `observed` holds
observed histories. Folders: `baselines`, `metrics`, and `calibration` (conformal tubes, OOD score,
fallback).
"""
