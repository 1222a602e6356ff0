"""Every page with a study of an own training, whose metrics and axes spikefront does not have."""

from pathlib import Path
from typing import Any

import pytest

import search
from tests.dashboard.views.test_views import VIEWS, metrics, shown, words


def train(params: dict[str, Any], context: Any) -> Any:
    for epoch in range(2):
        yield {"score": params["width"] - epoch, "energy_uj": 2.5 * params["width"], "loss": 0.5}
    return [
        {"score": params["width"], "energy_uj": 2.5 * params["width"], "point": "T=4"},
        {"score": params["width"] / 2, "energy_uj": 1.0 * params["width"], "point": "T=2"},
    ]


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own")
    url = f"sqlite:///{folder}/store.db"
    with search.open_store(url) as store:
        for name in ("own", "own-2"):
            study = search.Study(
                name=name,
                objectives=["score", "energy_uj"],
                metrics={
                    "score": {"better": "higher", "ideal": 20},
                    "energy_uj": {"better": "lower", "unit": "uJ", "meaning": "on the board"},
                },
                run={"train": train, "epochs": 2},
                space={"width": {"low": 1, "high": 12}, "kind": ["a", "b"]},
                budget={"trials": 12, "workers": 0},
            )
            search.run(study, store=store, quiet=True, artifacts=Path(folder))
        search.confirm(study, picks=["knee"], seeds=2, store=store, quiet=True, artifacts=folder)
    return url


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_shows_an_own_study_or_says_why_not(
    view: str, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {"with": "own,own-2"} if "compare" in view else {}
    app = shown(monkeypatch, own_url, view, study="own-2", **query)
    said = words(app)
    if "front" in view:
        assert metrics(app)["Best score"].startswith("12")
        assert "uJ" in said
    if "network" in view:
        assert "it has no architecture, layers, exits or images here" in said
        assert metrics(app)["Energy uj"].endswith(" uJ")
    if "importance" in view:
        assert "Importance per objective" in said
    if "export" in view:
        assert not [each for each in app.get("download_button") if each.label == "Settings"]


def test_axes_and_targets_know_own_metrics(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query = {"x": "energy_uj", "y": "score", "targets": "energy uj <= 12 uJ"}
    app = shown(monkeypatch, own_url, "views/front.py", study="own", **query)
    assert "is not a metric" not in words(app)
    assert float(metrics(app)["On the front"]) > 0
