import struct

import numpy as np

from forecast.visualization.viewer.frames import decode_frame, encode_frame


def test_a_frame_comes_back_as_it_was():
    places = np.array([[1.5, -2.0], [np.nan, 4.0]], np.float32)
    header, arrays = decode_frame(
        encode_frame({"id": 7, "word": "né"}, {"a": places, "b": np.zeros((0, 3))})
    )
    assert header == {"id": 7, "word": "né"}
    np.testing.assert_array_equal(arrays["a"], places)
    assert arrays["b"].shape == (0, 3)


def test_arrays_lie_at_multiples_of_four_bytes_so_that_the_page_needs_no_copy():
    for length in range(8):
        (size,) = struct.unpack_from("<I", encode_frame({"word": "x" * length}, {"a": np.ones(3)}))
        assert size % 4 == 0


def test_numbers_of_numpy_are_plain_and_those_not_finite_are_null():
    header, _ = decode_frame(
        encode_frame({"a": np.float32(0.5), "b": float("nan"), "c": np.array(["x"])}, {})
    )
    assert header == {"a": 0.5, "b": None, "c": ["x"]}
