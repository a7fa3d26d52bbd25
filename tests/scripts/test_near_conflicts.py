"""Cost curves of the benchmark of near-conflicts, by hand."""

import runpy
import sys
from typing import Any

import numpy as np
import pytest

from scripts import tables


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    sys.path.insert(0, str(tables.ROOT / "scripts"))
    try:
        return runpy.run_path(str(tables.ROOT / "scripts" / "benchmark_near_conflicts"))
    finally:
        sys.path.pop(0)


def outcome(progress_m: float, risk: float) -> dict[str, float]:
    hit = float(risk >= 100)
    found = {"plan": 0, "expected": 1.0, "collision": hit, "near_miss": hit, "pet_s": 2.0}
    return found | {"distance_m": 1.5, "risk": risk, "progress_m": progress_m}


def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    """Reacting people: half the risk of frozen ones at equal progress, but chosen 5 m shorter."""
    found: list[dict[str, Any]] = [{"scene": "a", "at": 3, "solvable": False}]
    for scene in ("b", "c", "d"):
        row: dict[str, Any] = {"scene": scene, "at": 6, "solvable": True}
        for step in range(len(script["PRICES"])):
            way = 10.0 + 10 * step
            row.setdefault("frozen", []).append(outcome(way, way))
            row.setdefault("constant velocity", []).append(outcome(way, way))
            row.setdefault("reactive", []).append(outcome(way - 5, (way - 5) / 2))
        found.append(row)
    return found


def test_risk_is_compared_at_equal_progress(script) -> None:
    found = rows(script)[1:]
    less, reach = script["less_risk"](found, "reactive", "frozen")
    assert less == "50 % less risk (50 to 50)"
    assert reach == "10.0 to 45.0 m"
    less, _ = script["less_risk"](found, "frozen", "constant velocity")
    assert less == "0 % less risk (0 to 0)"


def test_curves_are_read_in_the_order_of_progress(script) -> None:
    ways, risks = np.array([30.0, 10.0, 20.0]), np.array([4.0, 0.0, 2.0])
    other = np.array([10.0, 20.0, 30.0]), np.array([0.0, 4.0, 8.0])
    less, reach = script["_less_risk"](ways, risks, *other)
    assert less == pytest.approx(0.5)
    assert reach == (10, 30)


def test_the_table_counts_what_was_dropped(script) -> None:
    text = script["table"](rows(script))
    assert text.startswith("3 near-conflicts in 3 simulated scenes")
    assert "; 1 others were dropped" in text
    assert "| 0.03 | 10.0; 10.00; 0; 0.0 | 10.0; 10.00; 0; 0.0 | 5.0; 2.50; 0; 0.0 |" in text
