"""Films of a scene and its predicted futures: MP4, GIF, a replay as one page, MCAP and RRD.

* `film`: what a film shows, as scenes and predictions. `plans`: plans of the ego by name.
* `moments`: the same at the time of one picture, and the part of the ground that it shows.
* `regions`: calibrated regions as polygons. `legend`: words.
* `ground`, `painter`: pictures. `encode`: pictures as MP4 and GIF.
* `replay`: a page that draws by itself. `recording`: messages for Foxglove. `rerun_file`: those
  for Rerun.
* `command`: ``forecast render``.

``forecast render --town 0 --from 3 --to 9 --width 640 --fps 5 --out notebooks/forecast.gif`` makes
the picture of the README.
"""
