import dataclasses
import re
import tomllib

from dashboard.data.point_filter import ViewOptions, visible_points
from dashboard.figures.report import report
from dashboard.parts import downloads
from dashboard.parts.store_cache import study_view
from search.trial.confirmation import Confirmed, SeedRun
from search.trial.trial import TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS

LOOK = ViewOptions(x="synaptic_ops", y="accuracy", colour="training_memory_bytes", z="model_bytes")


def test_a_report_is_one_file_that_asks_no_other_host_for_anything(example_url: str) -> None:
    view = study_view(example_url, "digits")
    text = report(view, visible_points(view.table), LOOK)
    outside = text.replace(text[text.index("<script>") : text.index("</script>")], "")
    assert text.startswith("<!doctype html>")
    assert "plotly.js v" in text
    assert not re.search(r"""(?:src|href)=["']""", outside)
    assert outside.count("<tr") >= int(view.table.on_front.sum())
    assert "97." in outside
    assert "[space]" in outside


def test_nothing_of_a_study_is_markup_in_its_report(example_url: str) -> None:
    view = study_view(example_url, "digits")
    evil = "<script>alert(1)</script>"
    stored = dataclasses.replace(view.stored, name=evil, toml=evil)
    partitions = (evil,) * len(view.table.trial_numbers)
    table = dataclasses.replace(view.table, trial_partitions=partitions)
    text = report(
        dataclasses.replace(view, stored=stored, table=table),
        visible_points(table),
        dataclasses.replace(LOOK, colour="partition"),
    )
    assert evil not in text


def test_a_report_of_a_selection_holds_it_with_what_was_confirmed(example_url: str) -> None:
    view = study_view(example_url, "digits")
    row = int(visible_points(view.table).front[0])
    runs = tuple(
        SeedRun(
            seed=seed,
            state=TrialState.COMPLETE,
            training_fingerprint="",
            metrics=dict.fromkeys(METRICS, 1.0) | {"accuracy": accuracy},
        )
        for seed, accuracy in enumerate((0.95, 0.97))
    )
    confirmed = {int(view.table.ids[row]): Confirmed(runs=runs)}
    text = report(view, visible_points(view.table), LOOK, chosen=[row], confirmed=confirmed)
    assert "Selected points" in text
    assert "96.0 ± 1.4 % (2 seeds)" in text.replace("\u202f", " ")


def test_the_settings_of_a_point_are_a_run_config_at_that_point(example_url: str) -> None:
    table = study_view(example_url, "digits").table
    row = 1
    text = downloads.config_toml(
        example_url, "digits", int(table.trials[row]), int(table.ids[row])
    ).decode()
    config = RunConfig.from_mapping(tomllib.loads(text))
    assert config.inference_timesteps == int(table.timesteps[row])
    assert list(config.exit_threshold) == list(table.exit_thresholds([row])[0])
