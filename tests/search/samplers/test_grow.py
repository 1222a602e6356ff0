"""The sampler grow: each extension keeps every block of a network of the front."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from search.samplers.block_tree import BlockTree
from search.samplers.extension_model import Extension, ExtensionModel
from search.samplers.grow import GROWN, ROOTS, GrowSampler
from search.samplers.sampler import make_sampler
from search.study.study import Study, StudyError, study_from_toml
from search.trial.trial import Trial, TrialState
from search.worker.job import run_config
from snn.settings.measurement import METRICS, OperatingPoint
from snn.settings.prefix import shared_blocks
from tests.search.samplers.test_sampler import a_study, finished

TOML = a_study("grow").text
BASE = {"dropout": 0.1, "width": 8, "optimizer": "adam"}


def test_a_grown_network_keeps_a_trained_prefix_and_adds_one_block() -> None:
    study = study_from_toml(TOML.replace("seed = 3", "seed = 3\ngrow_share = 1.0"))
    sampler = make_sampler(study, [])
    assert isinstance(sampler, GrowSampler)
    trials, grown = {}, 0
    for number in range(40):
        params, state = sampler.ask(number)
        base = state[GROWN]
        config = run_config(study, params)
        if base == -1:
            assert config.exits == 1
        else:
            assert number >= ROOTS
            assert trials[base].state is TrialState.COMPLETE
            before = run_config(study, trials[base].params)
            assert shared_blocks(before, config) == config.exits - 1  # type: ignore[arg-type]
            grown += 1
        trials[number] = finished(number, params, dict(state))
        sampler.tell(trials[number])
    assert grown > 5


def test_a_block_is_not_trained_twice_behind_the_same_prefix() -> None:
    study = study_from_toml(TOML.replace("seed = 3", "seed = 3\ngrow_share = 1.0"))
    sampler, seen = make_sampler(study, []), set()
    for number in range(40):
        params, state = sampler.ask(number)
        fingerprint = run_config(study, params).training_fingerprint
        assert fingerprint not in seen
        seen.add(fingerprint)
        sampler.tell(finished(number, params, dict(state)))


def a_network(study: Study, number: int, kinds: str, accuracies: Sequence[float]) -> Trial:
    """A finished network, whose operating points are its exits."""
    params: dict[str, int | float | str] = {"units": len(kinds), "units_per_block": 1}
    for place, kind in enumerate(kinds, 1):
        params |= {f"unit_{place}_kind": kind, f"unit_{place}_channels": 8}
        params |= {f"unit_{place}_kernel": 3}
    kept = {n: v for n, v in BASE.items() if n in study.space.param_names()} | params
    exits = exits_of(accuracies)
    return Trial(number=number, params=kept, state=TrialState.COMPLETE, sampled=exits[-1])


def exits_of(accuracies: Sequence[float]) -> list[OperatingPoint]:
    return [
        OperatingPoint(
            timesteps=4,
            exit_thresholds=(),
            detector_threshold=0.5,
            blocks=blocks,
            metrics=dict.fromkeys(METRICS, 10.0) | {"accuracy": a, "synaptic_ops": 100.0 * blocks},
            is_sampled=blocks == len(accuracies),
        )
        for blocks, a in enumerate(accuracies, 1)
    ]


def test_a_trained_network_is_a_prefix_at_each_of_its_exits() -> None:
    study = a_study("grow")
    tree = BlockTree(study)
    tree.add(a_network(study, 0, "cr", [0.5, 0.7]), exits_of([0.5, 0.7]))
    assert [(n.depth, n.metrics["accuracy"]) for n in tree.nodes.values()] == [(1, 0.5), (2, 0.7)]
    assert [(a.depth, b.depth) for a, b in tree.edges()] == [(0, 1), (1, 2)]
    tree.add(a_network(study, 1, "cs", [0.5, 0.2]), exits_of([0.5, 0.2]))
    assert len(tree.nodes) == 3  # the first block is the same


def test_the_model_prefers_the_kind_of_block_that_was_better() -> None:
    study = a_study("grow")
    tree = BlockTree(study)
    for number, kinds in enumerate(("cc", "cr", "rc", "rr", "cs", "rs")):
        second = {"c": 0.9, "r": 0.6, "s": 0.3}[kinds[1]]
        tree.add(a_network(study, number, kinds, [0.5, second]), exits_of([0.5, second]))
    base = next(node for node in tree.nodes.values() if node.depth == 2)
    model = ExtensionModel(study, tree)
    found = [
        Extension(base=base, blocks=1, params=a_network(study, 9, f"cc{kind}", [0.5]).params)
        for kind in "crs"
    ]
    front = np.array([[0.6, 0.3]])
    reference = {"accuracy": 0.0, "synaptic_ops": 1_000.0}
    gains = model.gains(found, front, reference)
    assert gains[0] > gains[1] >= gains[2] >= 0


def test_extensions_that_cannot_be_trained_are_examples_of_no_accuracy() -> None:
    study = a_study("grow")
    tree = BlockTree(study)
    tree.add(a_network(study, 0, "c", [0.5]), exits_of([0.5]))
    silent = dataclasses.replace(
        a_network(study, 1, "cs", [0.0]), state=TrialState.PRUNED, sampled=None
    )
    tree.fail(silent)
    assert [(b.depth, b.metrics["accuracy"]) for _, b in tree.edges()] == [(1, 0.5), (2, 0.0)]
    assert len(tree.nodes) == 1  # it is no prefix of others


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
