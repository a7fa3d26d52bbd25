"""The guarantees of the packaged weights, on every store at hand."""

import pytest

from forecast.cli import main
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.evaluation.audit.command import table
from forecast.evaluation.audit.guarantees import audit
from forecast.evaluation.run.predictors import build
from forecast.simulator import write_town

SETS = ("v1.0-mini", "v1.0-teaser", "v1.0-citr", "v1.0-town")
WINDOWS = 8


@pytest.fixture(params=SETS)
def store(request, tmp_path) -> SceneStore:
    version = request.param
    if version == "v1.0-town":
        write_town(tmp_path / "data", scenes=4, seed=7)
        root, maps = tmp_path / "data", []
    else:
        fixture = version.removeprefix("v1.0-").replace("mini", "nuscenes") + "_root"
        root = request.getfixturevalue(fixture)
        maps = [] if version == "v1.0-mini" else ["--no-map"]
    words = ["--dataroot", str(root), "--version", version, "--out", str(tmp_path / "store")]
    assert main(["prepare", "--source", "nuscenes", *words, *maps]) == 0
    return SceneStore.open(tmp_path / "store")


@pytest.mark.slow
def test_the_packaged_weights_keep_all_guarantees(store):
    spec = WindowSpec.of_protocol(store.protocol, store.dt_s)
    town = build("town", store, "all", spec, 20, 0)
    findings = audit(town, store, list(store), spec, windows=WINDOWS)
    assert not any(finding.held is False for finding in findings), table(findings)
    tried = {finding.guarantee.id: finding.windows for finding in findings}
    assert tried["frame"] == tried["order"] == tried["future"] == WINDOWS
