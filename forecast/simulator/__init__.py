"""The simulated city: a nuScenes-format dataset that anyone can generate and share.

What does not move: `paths` (lanes as lines and arcs), `streets` (districts), `places` (the four
there are), `ground` (their surfaces, buildings, bus stops), `signals`, `maps` (the map expansion).
Who moves: `drives` and `fleet` (vehicles), `walks` and `crowd` (people), `routes`, `streams` (luck
that belongs to an agent and a moment).
How they move: `traffic` (vehicles), `people` with `forces`, `near` and `boxes` (who is near what),
`simulate` (a step of the world; other ego plans).
What is written: `recording` and `sight` (what the ego's log holds), `sensors`, `tables`, `tokens`,
`write`. `realism` measures it against recorded traffic.
"""

from forecast.simulator.export.dataset import VERSION, write_town

__all__ = ["VERSION", "write_town"]
