"""Remarks on studies of recordings: rules that lose the order of events."""

import pytest

from search.study.remarks import remarks
from search.study.study import study_from_toml


@pytest.mark.parametrize(
    ("dataset", "lines", "said"),
    [
        ("n-mnist", 'time_rule = ["bptt", "dsr"]', "the order of the events within a clip has no"),
        ("n-mnist", 'time_rule = ["bptt", "saf-f"]', "late timesteps weigh most"),
        ("n-mnist", 'augmentation = ["shift", "crop-flip"]', "mirrors half of the recordings"),
        ("n-mnist", 'time_rule = ["bptt", "saf-e"]', ""),
        ("mnist", 'time_rule = ["bptt", "dsr"]', ""),
    ],
)
def test_rules_and_mirrors_that_do_not_suit_recordings_are_named(
    dataset: str, lines: str, said: str
) -> None:
    study = study_from_toml(
        f'name = "x"\nobjectives = ["accuracy", "latency_steps"]\n[budget]\ntrials = 3\n'
        f'[run]\ndataset = "{dataset}"\n[space]\nwidth = [4, 8]\n{lines}\n',
        "x",
    )
    found = list(remarks(study, [dataset]))
    assert len(found) == bool(said)
    assert said in "".join(found)
