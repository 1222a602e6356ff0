import pytest

from dashboard.data.targets import TargetError, parse_target, parse_targets


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("accuracy >= 97 %", "accuracy>=0.97"),
        ("accuracy>=0.97", "accuracy>=0.97"),
        ("model <= 100 kB", "model_bytes<=100000"),
        ("Model size ≤ 1.5 MB", "model_bytes<=1500000"),
        ("synaptic operations < 12 k", "synaptic_ops<=12000"),
        ("training time <= 2 h", "training_s<=7200"),
        ("latency <= 20 steps", "latency_steps<=20"),
        ("est_energy_nj <= 1e2 nJ", "est_energy_nj<=100"),
    ],
)
def test_a_target_is_read_as_people_write_it(text: str, read: str) -> None:
    assert parse_target(text).text == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accuracy", "must be like"),
        ("acuracy >= 0.9", "did you mean 'accuracy'"),
        ("mean <= 3", "could be mean_blocks, mean_timesteps"),
        ("accuracy >= high", "must be a number"),
        ("accuracy >= 97", "97 % is 0.97"),
        ("model_bytes <= 5 %", "must be a number, optionally with B, kB or MB, got '5 %'"),
        ("accuracy >= 1e999", "must be a number"),
    ],
)
def test_a_target_that_cannot_be_read_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        parse_target(text)


def test_every_fault_of_a_line_is_said_and_the_rest_is_kept() -> None:
    targets, faults = parse_targets("accuracy >= 97 %, nonsense, model <= x and latency <= 9")
    assert [target.metric for target in targets] == ["accuracy", "latency_steps"]
    assert len(faults) == 2


def test_targets_written_out_are_read_the_same() -> None:
    targets, _ = parse_targets("accuracy >= 97.25 %, model <= 100 kB")
    assert parse_targets(", ".join(target.text for target in targets)) == (targets, ())
