"""A trial that was stopped early: where it was reason, by what, and against whom it lost."""

from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.data.stop_reason import StopReason, explained, named
from dashboard.data.study_view import read_trial
from dashboard.figures import rungs as rung_figures
from dashboard.figures import trial as trial_figures
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.rung import RungPoint, RungReport
from search.trial.trial import Outcome, TrialState
from snn.settings.measurement import Metric
from tests.dashboard.example_store import TOML, example_trials
from tests.dashboard.views.test_views import shown, words

STOPPING = '\n[search]\nstopping = "moasha"\n'
NAMES = ("accuracy", "synaptic_ops", "training_memory_bytes", "model_bytes")
REASON = (
    "stopped early at rung 1 of 2, after 3 of 24 epochs: not among the best 1 of 4 trials there"
)
# accuracy and operations of trials 0 to 4 at rung 1; trial 3 is the one that was stopped
MEASURED = ((0.9, 1e4), (0.4, 2e3), (0.8, 2e4), (0.5, 5e4), (0.95, 9e3))


def report(accuracy: float, ops: float, *, rung: int = 1, more: int = 0) -> RungReport:
    values = (accuracy, ops, 4e6, 2e5)
    point = RungPoint(metrics=dict(zip(NAMES, values, strict=True)))
    others = RungPoint(metrics={**point.metrics, "accuracy": accuracy - 0.1}, is_sampled=False)
    return RungReport(
        rung=rung, epochs_done=3 * rung, epochs_total=24, points=(point, *[others] * more)
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Trial 3 was stopped at rung 1, trial 4 came there after it, trial 5 diverged."""
    url = f"sqlite:///{tmp_path / 'stopped.db'}"
    with Store(url) as store:
        store.create_study(study_from_toml(TOML.format(name="digits", trials=6) + STOPPING))
        for example in example_trials(6):
            number = example.trial.number
            store.add_trial("digits", example.trial)
            for measurement in example.measurements[:3]:
                store.record_measurement("digits", number, measurement)
            if number < len(MEASURED):
                store.record_rung("digits", number, report(*MEASURED[number], more=number % 2))
            pruned = {3: (REASON, 1), 5: ("diverged: accuracy is nan at rung 1", 1)}
            if number in pruned:
                reason, rung = pruned[number]
                outcome = Outcome(state=TrialState.PRUNED, reason=reason, stopped_rung=rung)
                store.finish_trial("digits", number, outcome)
    return url


@pytest.fixture
def reason(url: str) -> StopReason:
    with Store(url, read_only=True) as store:
        found = read_trial(store, "digits", 3).stop_reason
    assert found is not None
    return found


def test_a_stopped_trial_is_held_against_those_that_came_before_it(reason: StopReason) -> None:
    assert sorted(reason.others) == [0, 1, 2]  # not 4, which came later
    assert reason.superiors == (0, 2)  # trial 1 needs fewer operations, and is less accurate
    assert reason.rungs == 2


def test_the_words_say_where_what_and_who(reason: StopReason) -> None:
    text = " ".join(explained(reason)).replace("\u202f", " ")
    assert "Metrics at the rung: accuracy 50.0 %" in text
    assert "synaptic operations 50 k ops" in text
    assert "1 more operating point of this network was also compared." in text
    assert "Of the 3 trials before it at this rung, trials 0 and 2 dominate it." in text


def test_many_trials_are_named_by_a_few() -> None:
    assert named([3]) == "trial 3"
    assert named([3, 5]) == "trials 3 and 5"
    assert named(range(9)) == "trials 0, 1, 2, 3, 4, 5 and 3 more"


def test_a_trial_that_none_dominates_lost_to_several_or_for_lack_of_places(
    reason: StopReason,
) -> None:
    together = replace(reason, superiors=())
    assert "several trials together do" in " ".join(explained(together))
    crowded = replace(reason, superiors=(), is_on_front=True, others={7: reason.report})
    text = " ".join(explained(crowded))
    assert "the front at this rung had more trials than places" in text
    assert "Trial 7 had the same metrics." in text


def test_what_goes_on_or_diverged_was_not_judged_against_others(url: str) -> None:
    with Store(url, read_only=True) as store:
        assert read_trial(store, "digits", 0).stop_reason is None
        assert [each.rung for each in read_trial(store, "digits", 0).rungs] == [1]
        assert read_trial(store, "digits", 5).stop_reason is None


def test_the_figure_rings_the_trial_and_leads_to_the_others(reason: StopReason) -> None:
    figure = rung_figures.at_rung(reason, x="synaptic_ops", y="accuracy", mode="light")
    traces = {trace.name: list(trace.customdata) for trace in figure.data}
    assert traces == {
        "other trials": [1, 1],
        "trials that dominate it": [0, 2],
        "this trial": [3, 3],
    }
    alone = rung_figures.at_rung(reason, x=rung_figures.TRIAL, y="accuracy", mode="dark")
    assert list(alone.data[-1].x) == [3, 3]


def test_a_rung_of_own_metrics_has_their_units(reason: StopReason) -> None:
    """Their axes were looked for among the built-in metrics, and the page failed."""
    own = Metric(name="energy_uj", unit="uJ", better="lower", meaning="on the board")
    points = (RungPoint(metrics={"energy_uj": 12.5}),)
    measured = replace(reason.report, points=points)
    found = replace(reason, report=measured, others={}, superiors=(), declared={"energy_uj": own})
    figure = rung_figures.at_rung(found, x=rung_figures.TRIAL, y="energy_uj", mode="light")
    assert figure.layout.yaxis.title.text.startswith("Energy uj (uJ)")
    assert "12.5\u202fuJ" in figure.data[0].hovertext[0]
    assert "energy uj 12.5\u202fuJ" in " ".join(explained(found))


def test_the_curves_have_the_rung_and_those_who_were_there(url: str, reason: StopReason) -> None:
    with Store(url, read_only=True) as store:
        view = read_trial(store, "digits", 3)
    for name, traces in (("accuracy", 3), ("loss", 0)):
        figure = trial_figures.curve(view.measurements, name, "light")
        before = len(figure.data)
        rung_figures.add_rungs(figure, view.rungs, stopped=reason, name=name, mode="light")
        assert [line.x0 for line in figure.layout.shapes] == [3]
        assert figure.layout.annotations[0].text == "stopped here"
        assert len(figure.data) - before == traces


def test_the_page_of_a_stopped_trial_says_why(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = shown(monkeypatch, url, "views/network.py", study="digits", trial="3")
    text = words(app)
    assert "It was stopped" in text
    assert "Stopped early at rung 1 of 2" in text
    assert "trials 0 and 2 dominate it" in text
    assert "Vertical lines: rungs" in text
    diverged = shown(monkeypatch, url, "views/network.py", study="digits", trial="5")
    assert "Diverged: accuracy is nan" in words(diverged)
