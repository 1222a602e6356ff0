import pytest

from dashboard.data import formats
from snn.settings.measurement import METRICS


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("accuracy", 0.9721, "97.2 %"),
        ("synaptic_ops", 12_400, "12.4 k ops"),
        ("model_bytes", 38_000, "38 kB"),
        ("training_s", 250.0, "4 min 10 s"),
        ("dropout", 0.15, "15.0 %"),
        ("learning_rate", 0.00731, "0.00731"),
        ("width", 16, "16"),
        ("surrogate", "atan", "atan"),
        ("accuracy", float("nan"), "–"),
        ("width", None, "–"),
    ],
)
def test_a_figure_has_three_digits_and_its_unit(name: str, value: object, shown: str) -> None:
    assert formats.quantity(name, value).replace("\u202f", " ") == shown


def test_a_number_does_not_part_from_its_unit_at_the_end_of_a_line() -> None:
    assert " " not in formats.quantity("synaptic_ops", 12_400)


def test_every_metric_has_a_name_for_people_and_a_meaning() -> None:
    assert set(formats.LABELS) == set(METRICS)
    assert all(formats.meaning(name).endswith("is better.") for name in METRICS)


def test_thresholds_of_numbered_exits_have_the_meaning_of_their_setting() -> None:
    assert "Confidence" in formats.meaning("exit_threshold_2")


def test_no_character_that_markdown_or_html_knows_is_left_in_verbatim_text() -> None:
    shown = formats.verbatim("<img src=x onerror=alert(1)> **b** _i_ `c` $m$ :red[x] [a](b)")
    for entity in ("&#60;", "&#42;", "&#95;", "&#96;", "&#36;", "&#58;", "&#91;"):
        assert entity in shown
        shown = shown.replace(entity, "")
    assert not set(shown.replace("&#", "").replace(";", "")) & set("<>*_`$:[]()!&")


def test_verbatim_text_stays_on_one_line() -> None:
    assert formats.verbatim("a\n\n  # b") == "a &#35; b"


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        ("How early can\nit tell? Result:\n a  b\n 1  2", "How early can it tell?"),
        ("See x?y=1 for data. Which is better?", "See x?y=1 for data. Which is better?"),
        ("A table of all samplers.", "A table of all samplers."),
        ("", ""),
    ],
)
def test_a_question_ends_with_its_mark(comment: str, shown: str) -> None:
    assert formats.question(comment) == shown
