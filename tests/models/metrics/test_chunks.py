import pytest
import torch

from forecast.models.metrics import chunks


@pytest.mark.parametrize(("values_per_row", "calls"), [(1, [7]), (3, [3, 3, 1]), (99, [1] * 7)])
def test_pieces_stay_within_the_budget(values_per_row, calls, monkeypatch):
    monkeypatch.setattr(chunks, "_VALUES_AT_ONCE", 10)
    seen = []

    def double_sum(rows):
        seen.append(len(rows))
        return 2 * rows.sum(-1)

    rows = torch.arange(14.0).reshape(7, 2)
    assert torch.equal(chunks.map_rows(double_sum, rows, values_per_row), 2 * rows.sum(-1))
    assert seen == calls


def test_no_rows():
    assert chunks.map_rows(lambda rows: rows.sum(-1), torch.zeros(0, 3, 2), 6).shape == (0, 3)
