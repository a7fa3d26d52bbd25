from pathlib import Path

import pytest

from forecast import demo


@pytest.mark.slow
def test_the_demo_goes_all_the_way(tmp_path: Path, capsys) -> None:
    short = ["--trainer.max_epochs=1", "--data.windows_per_epoch=16", "--data.batch_size=8"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    demo.run_demo(tmp_path / "demo", scenes=2, training=[*short, *quiet])
    assert (tmp_path / "demo" / "evaluation" / "report.html").is_file()
    said = capsys.readouterr().out
    assert "constant_velocity" in said
    assert "the best of 1000 plans drives" in said
    assert str(tmp_path / "demo" / "evaluation" / "report.html") in said
