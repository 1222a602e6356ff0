"""The sampler grow: each extension keeps every block of a network of the front."""

import pytest

from search.samplers.grow import GROWN, ROOTS, GrowSampler
from search.samplers.sampler import make_sampler
from search.study.study import StudyError, study_from_toml
from search.trial.trial import TrialState
from search.worker.job import run_config
from snn.settings.prefix import shared_blocks
from tests.search.samplers.test_sampler import a_study, finished

TOML = a_study("grow").text


def test_grown_networks_extend_the_front_of_their_depth_by_one_block() -> None:
    study = study_from_toml(TOML.replace("seed = 3", "seed = 3\ngrow_share = 1.0"))
    sampler = make_sampler(study, [])
    assert isinstance(sampler, GrowSampler)
    trials, grown = {}, 0
    for number in range(60):
        params, state = sampler.ask(number)
        base = state[GROWN]
        config = run_config(study, params)
        if base == -1:
            assert config.exits == 1
        else:
            assert number > ROOTS
            assert trials[base].state is TrialState.COMPLETE
            before = run_config(study, trials[base].params)
            assert shared_blocks(before, config) == before.exits == config.exits - 1  # type: ignore[arg-type]
            grown += 1
        trials[number] = finished(number, params, dict(state))
        sampler.tell(trials[number])
    assert grown > 30
    bases = [trial.sampler_state[GROWN] for trial in trials.values()]
    assert max(map(bases.count, set(bases) - {-1})) < 8  # extensions are spread over the front


def test_a_share_is_left_to_tpe() -> None:
    study = a_study("grow")
    sampler = make_sampler(study, [])
    states = []
    for number in range(60):
        params, state = sampler.ask(number)
        states.append(GROWN in state)
        sampler.tell(finished(number, params, dict(state)))
    assert 30 < sum(states) < 58


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("per_block = 1", ""), "search.sampler 'grow' needs [space.units] with per_block"),
        (("{ low = 1, high = 3 }", "2"), "per_block and a count that varies"),
        (("[run]", '[run]\nspace_rule = "end-to-end"'), "needs blocks that are trained one after"),
        (("[space]", '[space]\nspace_rule = ["block-local"]'), "remove space.space_rule"),
        (("seed = 3", "seed = 3\nreuse_blocks = false"), "reuse_blocks = true"),
        (('"grow"', '"tpe"\ngrow_share = 0.5'), "grow_share has no effect without"),
    ],
)
def test_what_cannot_grow_is_refused(change: tuple[str, str], message: str) -> None:
    text = TOML.replace("exit_threshold = { low = 0.5, high = 0.99 }\n", "")
    with pytest.raises(StudyError) as caught:
        study_from_toml(text.replace(*change))
    assert message in str(caught.value)
