"""Rules timed in turn, and their memory planned."""

import pytest
import torch

from benchmarks.forward_rules import (
    PUBLISHED_NETWORK,
    RULES,
    TIMED_NETWORK,
    Timings,
    needs,
    time_rules,
)


def test_undisturbed_turns_count_and_the_fastest_of_them() -> None:
    timings = Timings({"a": [(1.0, 0.5), (2.0, 0.0), (3.0, 0.1)], "b": [(4.0, 0.9), (5.0, None)]})
    assert timings.best("a") == 2.0
    assert timings.best("b") == 5.0
    assert timings.ratio("a", "b") == pytest.approx(0.4)
    assert timings.foreign_load == pytest.approx(1.5 / 4)
    assert Timings({"a": [(1.0, 0.5)]}).best("a") == 1.0  # no other turn


def test_every_rule_gets_its_turns_and_threads_stay_as_they_were() -> None:
    before = torch.get_num_threads()
    small = TIMED_NETWORK.replace(backbone="vgg5", width=2, batch_size=2, timesteps=2)
    timings = time_rules(small, rounds=2, threads=1)
    assert list(timings.turns) == list(RULES)
    assert all(len(turns) == 2 and timings.best(rule) > 0 for rule, turns in timings.turns.items())
    assert torch.get_num_threads() == before


def test_online_rules_need_less_than_bptt_and_saf_less_than_ottt() -> None:
    small = PUBLISHED_NETWORK.replace(backbone="vgg7", width=4, batch_size=2)
    kept = {rule: need.kept for rule, need in needs(small).items()}
    assert kept["saf-e"] < kept["ottt-o"] < kept["bptt"]
    assert kept["saf-f"] < kept["ottt-a"] < kept["bptt"]
