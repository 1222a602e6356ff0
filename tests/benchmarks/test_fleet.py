"""A fleet of stand-in workers: what is counted is what the store has."""

from pathlib import Path

import pytest

from benchmarks import fleet, scale
from benchmarks.stand_in import FAMILY
from search.runners import leased_run
from search.store.store import Store
from tests.search.postgres import any_server

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "scale.md"


def test_a_small_fleet_is_counted_as_its_store_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    usual = leased_run.POLL_S
    found = fleet.run(url, workers=3, trials=8)
    assert usual == leased_run.POLL_S
    with Store(url, read_only=True) as store:
        trials = store.trials(fleet.NAME)
        epochs = sum(trial.epochs_done for trial in trials)
    assert len(trials) == found.trials == found.rows["trials"] == found.rows["artifacts"] == 8
    assert found.rows["operating_points"] == 8 * FAMILY
    assert found.epochs == found.rows["measurements"] == epochs
    counts = found.work.counts
    assert counts["messages"] == 8 + epochs + 8  # jobs, epochs, outcomes
    assert counts["writes"] >= 8 + epochs + 8  # one transaction each
    assert counts["statements"] > counts["writes"] + counts["reads"]
    assert found.work.message_bytes > 8 * 1000
    assert found.store_bytes >= sum(p.stat().st_size for p in tmp_path.glob("store.db*")) > 0
    assert found.log_bytes is None
    assert found.driver_cpu_s > 0
    assert found.page_bytes > 0


def test_its_tables_replace_those_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "scale.md"
    page.write_text(PAGE.read_text())
    words = ["--workers", "2", "--trials", "4", "--page", str(page), "--counts"]
    with any_server() as server:
        monkeypatch.setattr("sys.argv", ["scale", *words, "--postgres", server])
        scale.main()
    printed = capsys.readouterr().out
    text = page.read_text()
    assert "Measured with 2 workers, 4 trials, postgresql." in printed
    assert "Measured with 2 workers, 4 trials, postgresql." in text
    assert "| rows of `operating_points` | 20.00 | 2,000,000 |" in text
    assert "| bytes that the server writes ahead | " in text
    assert "shortest trial that 2 workers may have" in printed
    assert "shortest trial that 2 workers may have" not in text
    (tmp_path / "other.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"other.md: must have <!-- counted -->"):
        fleet.write(tmp_path / "other.md", {"counted": "x"})
