from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from forecast.visualization.film.encode import write_gif


@pytest.mark.parametrize("fps", [1, 7, 10, 12, 24, 30, 50])
def test_a_gif_lasts_as_long_as_its_film(tmp_path, fps):
    """Two seconds, black and white in turn; every picture ends within 5 ms of its time."""
    pictures = [np.full((16, 16, 4), 255 * (i % 2), np.uint8) for i in range(2 * fps)]
    write_gif(tmp_path / "x.gif", pictures, fps)
    ends = [0.0]
    with Image.open(tmp_path / "x.gif") as film:
        for index in range(film.n_frames):
            film.seek(index)
            ends.append(ends[-1] + film.info["duration"])
    assert ends[-1] == 2000
    assert film.n_frames == 2 * fps
    np.testing.assert_allclose(ends, np.arange(2 * fps + 1) * 1000 / fps, atol=5.01)
    assert min(later - before for before, later in pairwise(ends)) >= 20
