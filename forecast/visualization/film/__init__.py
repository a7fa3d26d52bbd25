"""Films of a scene and its predicted futures: MP4, GIF, a replay as one page, and MCAP.

* `film`: what a film shows, as scenes and predictions. `plans`: plans of the ego by name.
* `moments`: the same at the time of one picture. `camera`: which part of the ground it shows.
* `ground`, `painter`: pictures. `encode`: pictures as MP4 and GIF.
* `replay`: a page that draws by itself. `recording`: messages for Foxglove and Rerun.
* `command`: ``forecast render``.
"""
