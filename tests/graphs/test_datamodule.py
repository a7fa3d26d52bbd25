from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError
from forecast.graphs import GraphConfig
from forecast.graphs.augment import AugmentConfig
from forecast.graphs.datamodule import (
    Draws,
    ForecastDataModule,
    PairedWindows,
    Place,
    SourceConfig,
    WindowDataset,
    _joined,
)
from forecast.scene import AgentKind, Scene
from forecast.scene.agents import Decision
from tests.scenes import PlannedStreets, StreetSource


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return prepare(StreetSource(), tmp_path_factory.mktemp("data") / "store")


def module(store: SceneStore, **options: object) -> ForecastDataModule:
    train = [SourceConfig(str(store.path), "train")]
    val = SourceConfig(str(store.path), "val")
    data = ForecastDataModule(
        train, val, GraphConfig(), windows_per_epoch=6, batch_size=3, **options
    )
    data.setup("fit")
    return data


def test_draws_repeat_for_an_epoch_and_differ_between_epochs() -> None:
    epoch = 0
    draws = Draws(np.ones(50), count=20, seed=3, epoch=lambda: epoch)
    first = list(draws)
    assert first == list(draws)
    epoch = 1
    assert first != list(draws)


def test_draws_follow_the_weights() -> None:
    weights = np.array([1.0, 0.0, 3.0])
    draws = Draws(weights, count=4000, seed=0, epoch=lambda: 0)
    share = np.bincount([window for window, _ in draws], minlength=3) / 4000
    np.testing.assert_allclose(share, [0.25, 0, 0.75], atol=0.03)


def test_every_source_gets_its_share(store: SceneStore) -> None:
    sources = [
        SourceConfig(str(store.path), "train", 0.2),
        SourceConfig(str(store.path), "val", 0.8),
    ]
    data = ForecastDataModule(sources, sources[1], GraphConfig(), windows_per_epoch=2000)
    data.setup("fit")
    first = len(data.train_set.sources[0])
    windows = np.array([window for window, _ in data.train_dataloader().sampler])
    assert (windows < first).mean() == pytest.approx(0.2, abs=0.03)


def test_batches_join_windows_without_mixing_them(store: SceneStore) -> None:
    batch = next(iter(module(store).train_dataloader()))
    assert batch.num_graphs == 3
    source, target = batch["agent", "near", "agent"].edge_index
    scene_of = batch["agent"].batch
    assert torch.equal(scene_of[source], scene_of[target])
    lane, agent = batch["map", "near", "agent"].edge_index
    assert torch.equal(batch["map"].batch[lane], scene_of[agent])


def test_validation_scores_whole_futures_only(store: SceneStore) -> None:
    batches = list(module(store, horizon_steps=8).val_dataloader())
    scored = torch.cat([b["agent"].scored for b in batches])
    whole = torch.cat([b["agent"].future_valid.all(1) for b in batches])
    assert scored.any()
    assert whole[scored].all()


def test_worker_processes_give_the_same_batches(store: SceneStore) -> None:
    alone, helped = (module(store, num_workers=n).train_dataloader() for n in (0, 1))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one["agent"].position, other["agent"].position)


def test_a_split_without_pedestrians_is_refused(tmp_path: Path) -> None:
    class Empty(StreetSource):
        def read(self, name: str) -> tuple[Scene, dict[str, int]]:
            scene, dropped = super().read(name)
            scene.tracks.valid[:3] = False
            return scene, dropped

    store = prepare(Empty(), tmp_path / "store")
    with pytest.raises(ForecastError, match="split 'train' has no pedestrian with a history"):
        module(store)


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    source = SourceConfig(str(tmp_path / "absent"), "train")
    with pytest.raises(ForecastError, match="absent"):
        ForecastDataModule([source], source, GraphConfig())


class Splits(StreetSource):
    """Streets with the given splits."""

    def __init__(self, **splits: list[int]) -> None:
        self.named = {name: [f"street-{i}" for i in scenes] for name, scenes in splits.items()}

    def splits(self) -> dict[str, list[str]]:
        return self.named


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"val": [2], "train": [0, 1]}, ("train", "val")),
        ({"town_train": [0], "town_val": [2], "test": [1]}, ("town_train", "town_val")),
        # as nuScenes mini has them: both hold all scenes
        (
            {"train": [0], "val": [1, 2], "mini_train": [0, 1], "mini_val": [2]},
            ("mini_train", "mini_val"),
        ),
    ],
)
def test_a_store_alone_names_its_training_and_validation(tmp_path, splits, expected) -> None:
    path = str(prepare(Splits(**splits), tmp_path / "store").path)
    data = ForecastDataModule(store=path)
    assert (data.train, data.val) == (
        [SourceConfig(path, expected[0])],
        SourceConfig(path, expected[1]),
    )


@pytest.mark.parametrize(
    "splits",
    [
        {},
        {"train": [0]},
        {"a_train": [0], "b_val": [1]},
        {"retrain": [0], "reval": [1]},
        {"a_train": [0], "a_val": [1], "b_train": [1], "b_val": [2]},  # folds of equal size
    ],
)
def test_a_store_without_a_single_pair_of_splits_is_refused(tmp_path, splits) -> None:
    path = prepare(Splits(**splits), tmp_path / "store").path
    with pytest.raises(ForecastError, match="no single pair for training and validation") as error:
        ForecastDataModule(store=str(path))
    assert "\n" not in str(error.value)


def test_sources_are_given_once(store: SceneStore) -> None:
    source = SourceConfig(str(store.path), "train")
    with pytest.raises(ForecastError, match=r"data\.train is missing; give a configuration"):
        ForecastDataModule()
    with pytest.raises(ForecastError, match=r"data\.val is missing"):
        ForecastDataModule([source])
    with pytest.raises(ForecastError, match="train or val is given too; neither is needed"):
        ForecastDataModule([source], store=str(store.path))


def test_the_batch_is_that_of_all_processes_together(store: SceneStore, monkeypatch) -> None:
    data = module(store)
    monkeypatch.setattr(data, "_place", lambda: Place(1, 3))
    (batch, _) = data.train_dataloader()
    assert batch.num_graphs == 1
    with pytest.raises(ForecastError, match="batch_size is 3; a multiple of 2, the number of proc"):
        data.batch_share(2)


# --- windows under two plans

TRAINING = WindowSpec(5, 12, 2, full_future=False)
VARIED = AugmentConfig(
    scale=0.3,
    reverse=1.0,
    slow_down=1.0,
    wander=0.5,
    noise_m=0.1,
    short_history=0.5,
    drop_agents=0.3,
    heading_noise_rad=0.2,
    as_recorded=0.3,
)
AS_IT_IS = AugmentConfig(
    scale=0, reverse=0, short_history=0, drop_agents=0, drop_map=0, drop_pieces=0, shift_map_m=0
)
TARGETS = {"future", "future_heading", "future_valid", "decision", "scored", "twin"}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> SourceConfig:
    """Streets on which the ego goes on, drives half as fast, or stops."""
    folder = tmp_path_factory.mktemp("plans")
    went, slow, stop = (
        str(prepare(PlannedStreets(pace), folder / f"{pace}").path) for pace in (1.0, 0.5, 0.0)
    )
    return SourceConfig(went, "train", plans=[slow, stop])


@pytest.fixture(scope="module")
def paired(plans: SourceConfig) -> PairedWindows:
    return PairedWindows(plans, TRAINING, GraphConfig())


def test_a_pair_of_windows_begins_where_the_plans_part(paired: PairedWindows) -> None:
    assert paired.index == [("street-0", 4)] * 3 + [("street-1", 4)] * 3
    assert paired.plans == [(0, 1), (0, 2), (1, 2)] * 2


def test_windows_of_a_pair_differ_in_what_comes_after_alone(paired: PairedWindows) -> None:
    """The same agents, history, map and seeds, in whatever way windows are varied."""
    for seed in range(40):
        one, other = paired.varied(seed % 6, VARIED, seed)
        assert one.twin.tolist() == [True]
        assert other.twin.tolist() == [False]
        assert one.seed.tolist() == other.seed.tolist() == [seed]
        for first, second in zip(one.stores, other.stores, strict=True):
            assert set(first.keys()) == set(second.keys())
            along_the_plan = {"edge_index", "radius"} if "radius" in first else set()
            for name in set(first.keys()) - TARGETS - along_the_plan:
                assert torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])), (
                    name
                )
        ego = one["agent"].kind == AgentKind.EGO
        assert ego.sum() == 1
        future = [graph["agent"].future[:, :, 0] for graph in (one, other)]
        assert (future[0] - future[1])[ego].abs().max() > 1


def test_every_pair_of_plans_is_drawn_in_both_orders(paired: PairedWindows) -> None:
    """The ego goes 30, 15 or 0 m in the six seconds of the future."""
    ways = []
    for seed in range(60):
        pair = paired.varied(seed % 3, AS_IT_IS, seed)
        agents = [graph["agent"] for graph in pair]
        ego = agents[0].kind == AgentKind.EGO
        ends = [(agent.future[ego, -1] - agent.position[ego, -1]).norm() for agent in agents]
        ways.append(tuple(round(float(end) / 15) for end in ends))
    assert set(ways) == {(2, 1), (1, 2), (2, 0), (0, 2), (1, 0), (0, 1)}
    assert paired.varied(0, AS_IT_IS, 3)[0]["agent"].future.equal(
        paired.varied(0, AS_IT_IS, 3)[0]["agent"].future
    )


def test_the_future_of_a_pair_is_neither_slowed_down_nor_bent_nor_reversed(
    paired: PairedWindows,
) -> None:
    config = replace(AS_IT_IS, reverse=1.0, slow_down=0.5, speed_up=0.5, wander=0.5)
    for changed, plain in zip(
        paired.varied(0, config, 5), paired.varied(0, AS_IT_IS, 5), strict=True
    ):
        for name in ("position", "future", "decision"):
            assert torch.equal(changed["agent"][name], plain["agent"][name]), name


class Stepping(PlannedStreets):
    """In some scenes a person walks 2 m farther north, unless the ego goes on."""

    scenes: tuple[str, ...] = ("street-0",)

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        scene, dropped = super().read(name)
        north = scene.tracks.positions_m[:3, 6:, 1]
        north -= 1 - self.pace  # as if no plan mattered
        north[0] += 2.0 * (name in self.scenes and self.pace < 1)
        # Later come others, more of them if the ego goes on.
        more = int(4 * self.pace)
        columns = {
            each.name: np.append(values, np.repeat(values[1:2], more, axis=0), axis=0)
            for each in fields(scene.tracks)
            if (values := getattr(scene.tracks, each.name)) is not None
        }
        later = np.arange(len(scene.tracks.agent_ids), len(columns["agent_ids"]))
        columns["agent_ids"] = np.array([*scene.tracks.agent_ids, *map(str, later)])
        columns["valid"][later, :6] = False
        return replace(scene, tracks=replace(scene.tracks, **columns)), dropped


def stepping(source: type[Stepping], folder: Path, moved: float | None) -> PairedWindows:
    paths = [str(prepare(source(p), folder / f"{p}").path) for p in (1.0, 0.5, 0.0)]
    streets = SourceConfig(paths[0], "train", plans=paths[1:], moved=moved)
    return PairedWindows(streets, TRAINING, GraphConfig())


def test_plans_that_move_somebody_are_drawn_as_often_as_wanted(tmp_path: Path) -> None:
    """By hand: two of six pairs of plans move somebody, and are drawn in 60 % of the draws."""
    pair = stepping(Stepping, tmp_path, 0.6)
    expected = [0.3, 0.3, 0.1, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(pair.frequencies(), expected)
    for item, share in enumerate(expected):
        for graph in pair.varied(item, AS_IT_IS, 7):
            assert graph.weight.item() == pytest.approx(1 / (6 * share))
    data = ForecastDataModule([pair.source], SourceConfig(pair.source.store, "val"))
    data.setup("fit")
    drawn = data.train_dataloader().batch_sampler.sampler.share
    np.testing.assert_allclose(drawn, expected)


def test_without_a_share_or_anybody_moved_all_pairs_are_alike(tmp_path: Path) -> None:
    class Nobody(Stepping):
        scenes = ()

    for number, (source, moved) in enumerate([(Stepping, None), (Nobody, 0.6)]):
        pair = stepping(source, tmp_path / str(number), moved)
        np.testing.assert_allclose(pair.frequencies(), np.full(6, 1 / 6))
        assert pair.varied(0, AS_IT_IS, 7)[0].weight.item() == pytest.approx(1.0)


def test_a_share_of_moving_plans_needs_plans(plans: SourceConfig) -> None:
    with pytest.raises(ForecastError, match=r"moved is 0.5; no share without plans is needed"):
        SourceConfig(plans.store, "train", moved=0.5)
    with pytest.raises(ForecastError, match=r"moved is 1.0; a share between 0 and 1 is needed"):
        replace(plans, moved=1.0)


def pair_of(tmp_path: Path, **changes: object) -> PairedWindows:
    paths = [
        str(prepare(PlannedStreets(pace, **changes), tmp_path / str(pace)).path)
        for pace in (1.0, 0.0)
    ]
    return PairedWindows(SourceConfig(paths[0], "train", plans=paths[1:]), TRAINING, GraphConfig())


def people_in(pair: PairedWindows) -> list[int]:
    """Number of pedestrians in both windows of a pair, and of all other agents.

    The seeds have both orders of the two plans.
    """
    found = set()
    for seed in range(6):
        one, other = (graph["agent"].kind for graph in pair.varied(0, AS_IT_IS, seed))
        assert torch.equal(one, other)
        people = int((one == AgentKind.PEDESTRIAN).sum())
        found.add((people, len(one) - people))
    (counts,) = found
    return list(counts)


def test_people_who_are_far_from_the_way_of_the_ego_are_left_out(tmp_path: Path) -> None:
    """The ego has come 10 m and goes 30 m east if it goes on; persons 0 and 2 are seen now."""
    for number, (east, north, people) in enumerate(
        [(0, 19, 2), (0, 21, 1), (28, 15, 2), (49, 0, 2), (51, 0, 1), (-29, 0, 2), (-31, 0, 1)]
    ):
        pair = pair_of(tmp_path / str(number), person_from_ego_m=(east, north))
        assert people_in(pair) == [people, 3], (east, north)


def test_steps_at_which_the_ego_is_not_known_are_no_part_of_its_way(tmp_path: Path) -> None:
    """Positions are 0 there. One person is near that point, the other near the ego."""
    pair = pair_of(tmp_path, person_from_ego_m=(0.0, 5.0), ego_at_m=(0.0, 100.0), ego_seen_until=8)
    assert people_in(pair) == [1, 1]  # and vehicles near nobody are left out


def test_without_anybody_near_the_way_all_people_stay(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, ego_at_m=(500.0, 0.0))
    assert people_in(pair) == [2, 3]


def test_a_store_of_other_agents_is_refused_in_one_line(tmp_path: Path) -> None:
    class Fewer(PlannedStreets):
        def read(self, name: str) -> tuple[Scene, dict[str, int]]:
            scene, dropped = super().read(name)
            scene.tracks.valid[3] = False
            return scene, dropped

    went = str(prepare(PlannedStreets(1.0), tmp_path / "went").path)
    fewer = str(prepare(Fewer(0.0), tmp_path / "fewer").path)
    windows = PairedWindows(SourceConfig(went, "train", plans=[fewer]), TRAINING, GraphConfig())
    message = "scene street-0 has other agents at step 4; stores of the same scenes with other plan"
    with pytest.raises(ForecastError, match=message) as error:
        windows.varied(0, AS_IT_IS, 0)
    assert "\n" not in str(error.value)


def test_a_store_of_other_scenes_is_refused_before_a_run(plans: SourceConfig, tmp_path) -> None:
    class OtherNames(PlannedStreets):
        def scene_names(self) -> list[str]:
            return [f"lane-{i}" for i in range(3)]

    other = str(prepare(OtherNames(0.0), tmp_path / "other").path)
    source = replace(plans, plans=[*plans.plans, other])
    message = f"{other}: no scene 'street-0' of {plans.store}; a store of the same scenes with an"
    with pytest.raises(ForecastError, match=message) as error:
        ForecastDataModule([source], SourceConfig(plans.store, "val"))
    assert "\n" not in str(error.value)


def test_a_split_with_nobody_where_the_plans_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ForecastError, match="no pedestrian to learn from at step 4, where"
    ) as error:
        pair_of(tmp_path, people_from=8)
    assert "\n" not in str(error.value)


def test_a_missing_store_of_a_plan_is_refused_before_a_run(plans: SourceConfig, tmp_path) -> None:
    source = replace(plans, plans=[str(tmp_path / "absent")])
    with pytest.raises(ForecastError, match="absent"):
        ForecastDataModule([source], SourceConfig(plans.store, "val"))


def test_a_model_has_learnt_from_the_stores_of_all_plans(plans: SourceConfig) -> None:
    data = ForecastDataModule([plans], SourceConfig(plans.store, "val"))
    learnt = data.learnt_from()
    assert list(learnt) == [plans.store, *plans.plans]
    assert all(each.scenes == ["street-0", "street-1"] for each in learnt.values())
    assert learnt[plans.plans[0]].fingerprint == "streets at 0.5"


def test_the_graphs_of_several_draws_follow_each_other(paired: PairedWindows, store) -> None:
    single = WindowDataset(SourceConfig(str(store.path), "train"), TRAINING, GraphConfig())
    draws = [
        source.varied(0, AS_IT_IS, seed) for source, seed in ((paired, 7), (single, 8), (paired, 9))
    ]
    assert [len(draw) for draw in draws] == [2, 1, 2]
    batch = _joined(draws)
    assert batch.num_graphs == 5
    assert batch.seed.tolist() == [7, 7, 8, 9, 9]
    assert batch.twin.tolist() == [True, False, False, True, False]
    graphs = [graph for draw in draws for graph in draw]
    assert torch.equal(batch["agent"].future, torch.cat([each["agent"].future for each in graphs]))


def test_batches_hold_pairs_and_single_windows(plans: SourceConfig, store: SceneStore) -> None:
    """The batch size counts draws; a pair is one."""
    sources = [replace(plans, weight=0.5), SourceConfig(str(store.path), "train", 0.5)]
    data = ForecastDataModule(
        sources, SourceConfig(plans.store, "val"), windows_per_epoch=48, batch_size=6
    )
    data.setup("fit")
    pairs = 0
    for batch in data.train_dataloader():
        first = batch.twin.nonzero()[:, 0]
        assert batch.num_graphs == 6 + len(first)
        assert torch.equal(batch.seed[first], batch.seed[first + 1])
        assert not batch.twin[first + 1].any()
        pairs += len(first)
    assert 12 < pairs < 36
    validation = next(iter(data.val_dataloader()))
    assert "twin" not in validation


def test_decisions_come_from_the_store(plans: SourceConfig, store: SceneStore) -> None:
    """People decide by their number and the step; others, and streets without a table, nothing."""
    windows = WindowDataset(plans, TRAINING, GraphConfig())
    graph = windows[windows.index.index(("street-0", 10))]
    steps = torch.arange(6, 23)
    expected = torch.stack([(steps + person) % 5 for person in range(3)])
    agent = graph["agent"]
    assert agent.valid.shape[1] + agent.future_valid.shape[1] == 17
    assert torch.equal(agent.decision[:3], expected)
    assert (agent.decision[3:] == Decision.UNKNOWN).all()
    early = windows[windows.index.index(("street-0", 5))]["agent"]
    assert early.decision[1, :4].tolist() == [-1] * 4  # not seen before step 5
    assert early.decision[1, 4:].tolist() == [(step + 1) % 5 for step in range(5, 18)]
    bare = WindowDataset(SourceConfig(str(store.path), "train"), TRAINING, GraphConfig())
    assert (bare[0]["agent"].decision == Decision.UNKNOWN).all()


def test_a_run_that_goes_on_in_an_epoch_draws_what_is_left_of_it() -> None:
    def draws(rank: int = 0, processes: int = 1, done: int = 0) -> list[tuple[int, int]]:
        place = Place(rank, processes)
        return list(Draws(np.ones(50), 21, 3, lambda: 2, place, lambda: done))

    assert draws(done=8) == draws()[8:]
    assert draws(1, 2, done=4) == draws(1, 2)[4:]
    assert draws(done=21) == []
