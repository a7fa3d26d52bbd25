"""What is said of paths that are no weights file: what is there, and what to name instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forecast import inference
from forecast.datasets.manifest import MANIFEST
from forecast.errors import ForecastError
from forecast.evaluation.output.folder import METRICS_FILE, SCORES_FILE
from forecast.inference.paths import nearest, of_folder, weights_in
from tests.streets import street_store


def refused(path: Path | str) -> str:
    with pytest.raises(ForecastError) as error:
        inference.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def made(path: Path, content: bytes = b"something") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@contextmanager
def without_rights() -> Iterator[None]:
    """Drops the rights of the superuser, who may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


class TestFolders:
    def test_of_a_run_its_last_checkpoint_is_named(self, tmp_path: Path) -> None:
        last = made(tmp_path / "run" / "checkpoints" / "last.ckpt")
        newer = made(tmp_path / "run" / "checkpoints" / "epoch=3-step=8.ckpt")
        os.utime(newer, (2e9, 2e9))
        run = tmp_path / "run"
        assert refused(run) == f"{run}: is the folder of a training run; give a file in it: {last}"
        for folder in (last.parent, tmp_path):
            assert refused(folder) == f"{folder}: is a folder; give a file in it: {last}"
        last.unlink()
        assert weights_in(tmp_path) == newer

    def test_of_a_run_without_a_checkpoint(self, tmp_path: Path) -> None:
        made(tmp_path / "events.out.tfevents.17.host.0")
        assert "is the folder of a training run that has no checkpoint yet" in refused(tmp_path)

    def test_a_store_is_called_that(self, tmp_path: Path) -> None:
        store = street_store(tmp_path / "store").path
        assert (store / MANIFEST).is_file()
        assert refused(store) == (
            f"{store}: is a store of scenes; give a weights file (--store takes the store)"
        )

    @pytest.mark.parametrize(
        ("file", "what"), [(METRICS_FILE, "the results of an"), (SCORES_FILE, "a shard of an")]
    )
    def test_an_evaluation_is_called_that(self, tmp_path: Path, file: str, what: str) -> None:
        made(tmp_path / file)
        give = "give the weights that were evaluated (evaluate also takes its predictions.parquet)"
        assert of_folder(tmp_path) == f"{tmp_path}: is {what} evaluation; {give}"

    def test_others_are_empty_or_without_weights(self, tmp_path: Path) -> None:
        (tmp_path / "model.ckpt").mkdir()
        words = "not a folder of 'forecast export'; give one, or a weights file"
        empty = tmp_path / "model.ckpt"
        assert refused(empty) == f"{empty}: is an empty folder, {words}"
        assert refused(tmp_path) == f"{tmp_path}: is a folder without weights, {words}"


class TestMissing:
    @pytest.mark.parametrize("name", ["Town", "towm", "TOWN", "town.safetensors", "town2"])
    def test_a_misspelt_name(self, name: str) -> None:
        assert refused(name) == f"{name}: there is no such weights file; did you mean 'town'?"

    def test_a_misspelt_file(self, tmp_path: Path) -> None:
        last = made(tmp_path / "run" / "checkpoints" / "last.ckpt")
        made(last.with_name("last.yaml"))
        for name in ("lst.ckpt", "last.pt", "Last.ckpt"):
            path = last.with_name(name)
            assert nearest(path).startswith(f"did you mean {last.with_suffix('')}.")
        path = last.with_name("lst.ckpt")
        assert refused(path) == f"{path}: there is no such weights file; did you mean {last}?"

    def test_a_file_in_the_folder_above(self, tmp_path: Path) -> None:
        last = made(tmp_path / "run" / "checkpoints" / "last.ckpt")
        assert refused(tmp_path / "run" / "last.ckpt").endswith(f"file; did you mean {last}?")

    def test_a_misspelt_folder(self, tmp_path: Path) -> None:
        made(tmp_path / "monday" / "checkpoints" / "last.ckpt")
        path = tmp_path / "munday" / "checkpoints" / "last.ckpt"
        assert refused(path) == (
            f"{path}: there is no such weights file; {tmp_path} has no 'munday'; did you mean "
            f"{tmp_path / 'monday'}?"
        )

    def test_a_file_as_a_folder(self, tmp_path: Path) -> None:
        file = made(tmp_path / "last.ckpt")
        assert refused(file / "last.ckpt").endswith(f"did you mean the file {file}?")

    def test_a_home_folder_that_is_not_expanded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        file = made(tmp_path / "last.ckpt")
        assert nearest(Path("~/last.ckpt")) == f"'~' is not expanded here; did you mean {file}?"

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "last.ckpt").symlink_to("epoch=3.ckpt")
        assert refused(tmp_path / "last.ckpt").endswith(
            "last.ckpt: is a link to epoch=3.ckpt, which is not there; copy that file too"
        )

    def test_nothing_like_it(self, tmp_path: Path) -> None:
        path = tmp_path / "absent.ckpt"
        assert refused(path) == (
            f"{path}: there is no such weights file; give a .ckpt, a .safetensors or town"
        )


class TestUnreadable:
    def test_without_permission(self, tmp_path: Path) -> None:
        path, folder = made(tmp_path / "last.ckpt"), tmp_path / "closed"
        folder.mkdir()
        for each in (path, folder):
            each.chmod(0)
        with without_rights():
            said = [refused(each) for each in (path, folder, folder / "last.ckpt")]
        folder.chmod(0o700)
        words = "cannot be read: Permission denied; check the path and its permissions"
        for each, line in zip((path, folder, folder / "last.ckpt"), said, strict=True):
            assert line == f"{each}: {words}"

    def test_a_name_that_is_too_long(self) -> None:
        assert "cannot be read: File name too long" in refused("a" * 5000)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        for name in ("last.ckpt", "w.safetensors"):
            path = made(tmp_path / name, b"")
            assert refused(path) == f"{path}: is empty (0 bytes); copy or train it again"

    def test_a_pointer_of_git_lfs(self, tmp_path: Path) -> None:
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 308968\n"
        path = made(tmp_path / "town.safetensors", pointer)
        assert refused(path) == (
            f"{path}: is a Git LFS pointer instead of the file; fetch it with 'git lfs pull'"
        )
