"""Figures of metrics, written and read."""

import pytest

from search.text.units import done_of, figure, read_figure
from snn.settings.measurement import METRICS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 0.972),
        ("synaptic_ops", 4560.0),
        ("synaptic_ops", 12.0),
        ("est_energy_nj", 1200.0),
        ("est_energy_nj", 3.5e6),
        ("latency_steps", 20.0),
        ("latency_steps", 1.0),
        ("latency_ms", 12.5),
        ("model_bytes", 512.0),
        ("model_bytes", 12_300.0),
        ("parameters", 1.5e9),
        ("training_s", 4.2),
        ("training_s", 200.0),
        ("training_s", 7500.0),
    ],
)
def test_what_a_table_shows_is_read_again(name: str, value: float) -> None:
    shown = figure(name, value)
    assert read_figure(METRICS[name], shown) == pytest.approx(value), shown
    assert read_figure(METRICS[name], shown.replace(" ", "")) == pytest.approx(value)
    assert read_figure(METRICS[name], f"{value}") == value


def test_one_of_what_is_counted_is_no_plural() -> None:
    assert [figure("mean_blocks", value) for value in (1, 1.5)] == ["1 block", "1.50 blocks"]
    assert (figure("latency_ms", 1), figure("parameters", 1)) == ("1 ms", "1")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("accuracy", "97", "must be a fraction from 0 to 1, got 97: 97 % is 0.97"),
        ("accuracy", "140 %", "must be a fraction from 0 to 1, got 1.4"),
        ("accuracy", "9 kB", "must be a number, optionally with %, got '9 kB'"),
        ("model_bytes", "5 apples", "optionally with B, kB or MB, got '5 apples'"),
        ("parameters", "5 %", "optionally with k or M, got '5 %'"),
        ("training_s", "2 h 5", "optionally with s, min or h, got '2 h 5'"),
        ("macs", "nan", "must be a number"),
        ("macs", "", "must be a number"),
    ],
)
def test_what_is_no_figure_says_what_is_allowed(name: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_figure(METRICS[name], text)


def test_progress_names_a_budget_unless_more_was_done_already() -> None:
    assert done_of(3, 5, "trial") == "3 of 5 trials"
    assert done_of(1, 1, "trial", sign="/") == "1/1 trial"
    assert done_of(3, 1, "trial") == "3 trials", "it was run again with a lower budget"
    assert done_of(1, None, "trial") == "1 trial"
