"""What inputs and classes are called, and what a data set of recordings is like."""

from pathlib import Path

import pytest

from dashboard.data.inputs import IMAGES, Inputs, inputs_of, inputs_of_study
from dashboard.data.position import explained
from dashboard.data.recording_facts import recording_facts
from dashboard.figures import exits as exit_figures
from dashboard.figures import network_map
from dashboard.figures import trial as trial_figures
from search.commands.study_file import recordings_of
from search.study.study import study_from_toml
from snn.settings.config import RunConfig
from snn.settings.measurement import ExitReport
from tests.dashboard.real_study import study_text

LETTERS = Inputs(sample="recording", classes=("A", "B<i>", "C"))
REPORTS = [
    ExitReport(exit=exit_, label=label, images=4 + 3 * (label == exit_), correct=3, is_hard=False)
    for exit_ in (1, 2)
    for label in (0, 1, 2)
]


def test_inputs_are_called_what_they_are(tmp_path: Path) -> None:
    assert inputs_of("digits", tmp_path) == IMAGES
    assert inputs_of("shd", tmp_path) == Inputs(sample="recording")  # its files are not there
    assert Inputs().name(3) == "3"
    assert LETTERS.name(0) == "A"
    assert LETTERS.name(9) == "9"
    assert LETTERS.worded("12 images, one image") == "12 recordings, one recording"
    study = study_from_toml(study_text())
    assert inputs_of_study(study).sample == "image"
    recorded = study_from_toml(study_text().replace('"digits"', '"digits-saccades"'))
    assert inputs_of_study(recorded).sample == "recording"


def test_figures_of_exits_name_classes_and_inputs() -> None:
    sentences = " ".join(explained(REPORTS, LETTERS))
    assert "of the recordings; " in sentences
    flow = exit_figures.flow(REPORTS, "light", LETTERS).data[0]
    assert flow.node.label[:3] == ("class A", "class B&lt;i&gt;", "class C")
    assert "recordings exit here" in flow.link.customdata[0]
    assert not any("image" in text for text in flow.link.customdata)
    bars = trial_figures.exits(REPORTS, "dark", LETTERS).data[0]
    assert list(bars.x) == ["A", "B&lt;i&gt;", "C"]


@pytest.mark.parametrize("event_value", ["binary", "counts"])
def test_the_page_has_the_figures_that_validate_tells(tmp_path: Path, event_value: str) -> None:
    text = study_text().replace('"digits"', f'"digits-saccades"\nevent_value = "{event_value}"')
    (report,) = recordings_of(study_from_toml(text), tmp_path).values()
    facts = {label: value for label, value, _ in recording_facts(report)}
    told = " ".join(report.lines())
    assert facts["Training recordings"] in told
    assert f"timesteps of {facts['Bin'].split()[0]} ms" in told.replace("\u202f", " ")
    assert facts["Events"] in told
    assert set(facts) >= {"Padded", "After the clip", "Empty bins", "Lost if binary", "Of a class"}


def test_three_classes_have_two_easy_ones_and_a_hard_one() -> None:
    assert "Easiest classes: B<i> (1.36 blocks on average) and" in explained(REPORTS, LETTERS)[2]


def test_blocks_of_a_network_name_their_units_and_what_leads_back() -> None:
    config = RunConfig(
        architecture="c8 b16/2 s16", partition="1+2", feedback="last-to-first", recurrence="1x1"
    )
    shown = network_map.network(config, None, (), (), "light")
    assert "<span>· c8</span>" in shown
    assert "<span>· b16/2 s16</span>" in shown
    assert shown.count("feedback: its output to its first layer") == 2
    assert shown.count("recurrent connections, 1x1") == 2
