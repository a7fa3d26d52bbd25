"""The shared source contract, on the real data and the simulated city."""

import pytest

from forecast.datasets.crowds.eth_ucy import EthUcySource
from forecast.datasets.nuscenes import NuScenesSource
from forecast.simulator import write_town
from tests.datasets.source_contract import assert_keeps_contract


@pytest.mark.slow
def test_eth_ucy(eth_ucy_root):
    assert_keeps_contract(EthUcySource(eth_ucy_root))


@pytest.mark.parametrize("with_map", [True, False])
def test_nuscenes(nuscenes_root, with_map):
    assert_keeps_contract(NuScenesSource(nuscenes_root, "v1.0-mini", with_map=with_map), scenes=3)


@pytest.mark.slow
def test_town(tmp_path):
    write_town(tmp_path, scenes=2, seed=0)
    (tables,) = tmp_path.glob("*/scene.json")
    assert_keeps_contract(NuScenesSource(tmp_path, tables.parent.name))
