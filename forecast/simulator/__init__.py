"""The simulated city ("the town"): a dataset in nuScenes format that anyone can generate and share.

Rooms:

* `map`: what does not move. Lanes, districts of streets and their four layouts, three places of
  shared space, surfaces, traffic lights.
* `population`: who is in a scene. Vehicles, pedestrians, and the routes that pedestrians walk.
* `dynamics`: how they move. Pedestrian motion with social forces, vehicle motion, and negotiation
  in shared space.
* `export`: what is written. The ego's recording, visibility, sensors, tables, the map expansion,
  the dataset as a whole, and encounters under several plans of the ego.

`simulate` advances a scene by one step. `encounters` finds the moments at which the plan of the ego
may matter, and `decisions` says what pedestrians have decided. In `traffic`, somebody else drives
the ego. `realism` and `near_vehicles` compare the city with recorded people. `random_numbers`,
`routes`, `boxes` and `pairs` are helpers of all rooms.
"""

from forecast.simulator.export.dataset import VERSION, write_town
from forecast.simulator.export.encounters import write_encounters

__all__ = ["VERSION", "write_encounters", "write_town"]
