import numpy as np
import pytest

from forecast.simulator.map.lanes import Piece


def test_quarter_circle_piece_by_hand():
    piece = Piece((1.0, 2.0, 0.0), 10 * np.pi / 2, 0.1)
    poses = piece.at(np.array([0.0, 5 * np.pi / 2, 5 * np.pi]))
    half = 10 / np.sqrt(2)
    expected = [[1, 2, 0], [1 + half, 12 - half, np.pi / 4], [11, 12, np.pi / 2]]
    assert poses == pytest.approx(np.array(expected))
