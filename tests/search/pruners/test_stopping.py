"""Multi-objective early stopping: hand-made rungs, and what holds for all of them."""

import dataclasses
import itertools
import math
import random
import time
from collections.abc import Mapping, Sequence

import pytest

from search.front.front import dominates
from search.pruners.moasha import Moasha
from search.pruners.pruner import RECORDS, Decision
from search.pruners.rungs import StoppingRule
from search.study.study import Bound
from search.trial.rung import RungPoint, RungReport
from snn.settings.measurement import METRICS, OperatingPoint

NAMES = ("accuracy", "synaptic_ops")
RULE = StoppingRule(objectives=NAMES)
Pair = tuple[float, float]


def report(*points: Pair, rung: int = 1, epochs: tuple[int, int] = (1, 9)) -> RungReport:
    """Accuracies and operations of a network; the first point is the sampled one."""
    return RungReport(
        rung=rung,
        epochs_done=epochs[0],
        epochs_total=epochs[1],
        points=tuple(
            RungPoint(metrics=dict(zip(NAMES, pair, strict=True)), is_sampled=index == 0)
            for index, pair in enumerate(points)
        ),
    )


def rungs_of(*reports: RungReport, rule: StoppingRule = RULE) -> Moasha:
    rungs = Moasha(rule)
    for trial, earlier in enumerate(reports):
        rungs.restore(trial, earlier)
    return rungs


def stops(rungs: Moasha, *points: Pair, trial: int = 99) -> bool:
    return rungs.judge(trial, report(*points)).stops


def test_rungs_are_fractions_of_a_trials_own_training_from_one_over_the_reduction_down() -> None:
    assert RULE.fractions == pytest.approx((1 / 9, 1 / 3))
    assert StoppingRule(objectives=NAMES, reduction=2, smallest=0.125).fractions == (
        1 / 8,
        0.25,
        0.5,
    )
    assert StoppingRule(objectives=NAMES, reduction=10, smallest=0.1).fractions == (0.1,)
    assert RULE.rung_epochs(27) == {3: 1, 9: 2}
    assert RULE.rung_epochs(10) == {2: 1, 4: 2}


def test_no_rung_is_before_the_first_epoch_or_behind_the_last_and_those_of_one_epoch_are_one() -> (
    None
):
    assert RULE.rung_epochs(4) == {1: 1, 2: 2}
    assert RULE.rung_epochs(3) == {1: 2}
    assert RULE.rung_epochs(2) == {1: 2}
    assert RULE.rung_epochs(1) == {}
    assert (RULE.rung(0, 9), RULE.rung(8, 9), RULE.rung(9, 9)) == (0, 2, 0)


def test_a_rung_with_fewer_trials_than_the_reduction_stops_nobody() -> None:
    assert not stops(rungs_of(report((0.9, 1.0))), (0.1, 9.0))
    assert stops(rungs_of(report((0.9, 1.0)), report((0.8, 2.0))), (0.1, 9.0))


def test_who_is_stopped_hears_at_which_rung_and_why() -> None:
    rungs = rungs_of(report((0.9, 1.0)), report((0.8, 2.0)))
    decision = rungs.judge(2, report((0.1, 9.0), epochs=(3, 27)))
    assert decision == Decision(
        stops=True,
        reason="stopped early at rung 1 of 2, after 3 of 27 epochs: "
        "not among the best 1 of 3 trials there",
    )


def test_a_small_first_front_is_not_cut() -> None:
    """Three trials have one place; two that trade accuracy for operations may both go on."""
    assert not stops(rungs_of(report((0.9, 5.0)), report((0.1, 9.0))), (0.8, 4.0))
    # three on the front are more than twice one place
    assert stops(rungs_of(report((0.9, 5.0)), report((0.7, 3.0))), (0.8, 4.5))


def test_within_a_front_the_evenest_goes_on_and_then_whoever_is_farthest_from_it() -> None:
    front = [(0.9, 10), (0.85, 7), (0.8, 4), (0.7, 3.8), (0.5, 3.5), (0.2, 3), (0.1, 2.5)]
    goes_on = set()
    for judged in front:  # seven trials on the front have two places
        rungs = rungs_of(*(report(pair) for pair in front if pair != judged))
        if not stops(rungs, judged):
            goes_on.add(judged)
    assert goes_on == {(0.8, 4), (0.1, 2.5)}


def test_trials_outside_their_constraints_come_last_by_how_far_they_are_outside() -> None:
    rule = StoppingRule(objectives=NAMES, constraints={"accuracy": Bound(min=0.5)})
    rungs = rungs_of(*(report((0.5 + 0.01 * n, 5.0 + n)) for n in range(3)), rule=rule)
    decision = rungs.judge(3, report((0.4, 0.1)))
    assert decision.stops
    assert decision.reason.endswith("of 4 trials there and outside its constraints")
    worse = rungs_of(*(report((0.1 * n, 0.1)) for n in range(3)), rule=rule)
    assert not stops(worse, (0.4, 9.0)), "all are outside, and this one least"
    assert stops(worse, (0.15, 0.01))


def test_figures_that_are_no_numbers_stop_a_trial_and_are_compared_with_nobody() -> None:
    rungs = rungs_of(report((0.9, 1.0)))
    for bad in (math.nan, math.inf):
        decision = rungs.judge(7, report((0.5, bad)))
        assert decision == Decision(
            stops=True, reason=f"diverged: synaptic_ops is {bad} at rung 1", is_recorded=False
        )
    assert not stops(rungs, (0.1, 9.0)), "two trials are fewer than three"


def test_a_trial_stands_where_the_best_of_its_operating_points_stands() -> None:
    others = [report((0.9, 5.0)), report((0.8, 6.0)), report((0.7, 7.0))]
    assert stops(rungs_of(*others), (0.1, 9.0))
    assert not stops(rungs_of(*others), (0.1, 9.0), (0.6, 1.0))
    sampled = dataclasses.replace(RULE, judged="sampled")
    assert stops(rungs_of(*others, rule=sampled), (0.1, 9.0), (0.6, 1.0))


def test_a_point_outside_the_constraints_does_no_harm_to_a_trial_with_one_inside() -> None:
    rule = StoppingRule(objectives=NAMES, constraints={"accuracy": Bound(min=0.5)})
    others = [report((0.7, 5.0)), report((0.6, 6.0)), report((0.55, 7.0))]
    assert not stops(rungs_of(*others, rule=rule), (0.1, 1.0), (0.8, 5.0))


@pytest.mark.parametrize("own", [(0.95, 0.9), (0.1, 9.0)], ids=["continued", "stopped"])
def test_a_trial_that_runs_again_gets_the_same_answer(own: Pair) -> None:
    """Better trials came to the rung meanwhile; they used to change the answer."""
    earlier = [report((0.9, 2.0)), report((0.8, 1.0))]
    rungs = rungs_of(*earlier)
    answer = rungs.judge(2, report(own))
    assert answer.stops == (own[0] < 0.5)
    for trial in range(3, 9):
        rungs.judge(trial, report((0.96, 0.5 - trial / 100)))
    assert rungs.judge(2, report(own)) == dataclasses.replace(answer, is_recorded=False)


def test_a_trial_that_comes_to_a_rung_later_than_when_it_ran_before_goes_on_as_it_did() -> None:
    """Its first blocks come from the block cache then, so that it is measured only behind them."""
    earlier = [report((0.9, 1.0)), report((0.8, 2.0)), report((0.85, 1.5), epochs=(2, 9))]
    rungs = rungs_of(*earlier)
    late = rungs.judge(2, report((0.1, 9.0), epochs=(6, 9)))
    assert late == Decision(stops=False, is_recorded=False)


def random_reports(
    draws: random.Random, count: int, *, points: int = 1, steps: int = 8
) -> list[RungReport]:
    """Coarse figures, so that there are ties."""

    def pair() -> Pair:
        return draws.randrange(steps) / steps, float(draws.randrange(steps))

    return [report(*(pair() for _ in range(draws.randint(1, points)))) for _ in range(count)]


def naive(points: Sequence[Pair], bound: float, places: int) -> bool:
    """The algorithm as it is written down, for one point each; the last is the one judged."""
    rows = [(-accuracy, ops) for accuracy, ops in points]
    outside = [max(0.0, (bound - accuracy) / bound) if bound else 0.0 for accuracy, _ in points]
    left = set(range(len(points)))
    fronts: list[list[int]] = []
    while left:
        inside = [i for i in left if outside[i] == 0]
        if inside:
            front = [i for i in inside if not any(dominates(rows[j], rows[i]) for j in inside)]
        else:
            least = min(outside[i] for i in left)
            front = [i for i in left if outside[i] == least]
        fronts.append(sorted(front))
        left -= set(front)
    low = [min(column) for column in zip(*rows, strict=True)]
    span = [
        max(column) - least or 1.0
        for column, least in zip(zip(*rows, strict=True), low, strict=True)
    ]
    scaled = [tuple((v - a) / s for v, a, s in zip(row, low, span, strict=True)) for row in rows]
    before = 0
    for number, front in enumerate(fronts):
        if len(points) - 1 in front:
            net = [min(front, key=lambda i: (sum(scaled[i]), i))]
            while len(net) < len(front):
                rest = [i for i in front if i not in net]
                net.append(
                    max(rest, key=lambda i: (min(math.dist(scaled[i], scaled[j]) for j in net), -i))
                )
            position = before + net.index(len(points) - 1)
            return position < places or (number == 0 and len(front) <= 2 * places)
        before += len(front)
    raise AssertionError("the trial is in no front")


@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_with_one_point_each_the_order_is_the_published_one(bound: float) -> None:
    draws = random.Random(0)
    constraints: Mapping[str, Bound] = {"accuracy": Bound(min=bound)} if bound else {}
    rule = StoppingRule(objectives=NAMES, constraints=constraints)
    seen = set()
    for _ in range(300):
        reports = random_reports(draws, draws.randint(3, 25))
        pairs = [
            (r.sampled.metrics["accuracy"], r.sampled.metrics["synaptic_ops"]) for r in reports
        ]
        decision = rungs_of(*reports[:-1], rule=rule).judge(len(reports) - 1, reports[-1])
        assert decision.stops != naive(pairs, bound, max(len(reports) // 3, 1))
        seen.add(decision.stops)
    assert seen == {True, False}


def test_whoever_dominates_all_goes_on_and_whoever_all_dominate_is_stopped() -> None:
    draws = random.Random(1)
    for count in (2, 5, 40):
        for points in (1, 4):
            reports = random_reports(draws, count, points=points)
            assert not stops(rungs_of(*reports), (0.99, -1.0))
            assert stops(rungs_of(*reports), (-0.1, 9.0))


def test_the_order_in_which_trials_came_to_a_rung_decides_nothing() -> None:
    draws = random.Random(2)
    for _ in range(30):
        reports = random_reports(draws, 12, points=3)
        answers = set()
        for _ in range(4):
            rungs = Moasha(RULE)
            for trial in draws.sample(range(11), 11):
                rungs.restore(trial, reports[trial])
            answers.add(rungs.judge(11, reports[11]).stops)
        assert len(answers) == 1


def test_a_scale_common_to_all_decides_nothing() -> None:
    """Bytes and operations differ by orders of magnitude."""
    draws = random.Random(3)
    for _ in range(30):
        reports = random_reports(draws, 15, points=2)
        decisions = []
        for factor in (1.0, 1e6):
            scaled = [
                report(
                    *((p.metrics["accuracy"], factor * p.metrics["synaptic_ops"]) for p in r.points)
                )
                for r in reports
            ]
            decisions.append(rungs_of(*scaled[:-1]).judge(99, scaled[-1]).stops)
        assert decisions[0] == decisions[1]


def test_a_trial_that_beats_every_point_of_another_is_superior_to_it() -> None:
    rungs = rungs_of(
        report((0.9, 1.0)),  # beats both points
        report((0.7, 1.0)),  # only the second
        report((0.7, 1.0), (0.9, 2.0)),  # each of them, by one of its own
        report((0.8, 2.0), (0.6, 1.5)),
    )
    assert rungs.superiors(1, 3) == (0, 2)
    assert rungs.superiors(1, 0) == ()
    assert [rungs.is_on_front(1, trial) for trial in range(4)] == [True, False, False, False]
    with pytest.raises(KeyError):
        rungs.superiors(1, 99)


def test_whoever_is_less_far_outside_its_constraints_is_superior() -> None:
    rule = StoppingRule(objectives=NAMES, constraints={"synaptic_ops": Bound(max=2.0)})
    pairs = ((0.2, 1.0), (0.9, 3.0), (0.9, 4.0))
    rungs = rungs_of(*(report(pair) for pair in pairs), rule=rule)
    assert [rungs.superiors(1, trial) for trial in range(3)] == [(), (0,), (0, 1)]
    assert [rungs.is_on_front(1, trial) for trial in range(3)] == [True, False, False]


def test_only_the_newest_trials_of_a_rung_are_looked_at() -> None:
    rungs = Moasha(RULE)
    for trial in range(RECORDS):
        rungs.restore(trial, report((0.9, 1.0)))
    for trial in range(RECORDS, 2 * RECORDS - 1):
        rungs.restore(trial, report((0.1, 9.0)))
    assert not stops(rungs, (0.2, 8.0), trial=5_000)
    assert sum(len(rung) for rung in rungs._measured.values()) == RECORDS


@pytest.mark.parametrize("points", [1, 8])
def test_a_decision_among_a_thousand_trials_takes_milliseconds(points: int) -> None:
    draws = random.Random(4)
    rungs = Moasha(RULE)
    for trial in range(RECORDS):
        pairs = ((draws.random(), draws.random()) for _ in range(points))
        rungs.restore(trial, report(*pairs))
    seconds = []
    for trial in range(RECORDS, RECORDS + 10):
        asked = report(*((draws.random(), draws.random()) for _ in range(points)))
        begun = time.process_time()
        rungs.judge(trial, asked)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.06


def operating_point(accuracy: float, ops: float, *, is_sampled: bool = False) -> OperatingPoint:
    metrics = dict.fromkeys(METRICS, 1.0) | {"accuracy": accuracy, "synaptic_ops": ops}
    return OperatingPoint(
        timesteps=1,
        exit_thresholds=(),
        detector_threshold=0.5,
        blocks=1,
        metrics=metrics,
        is_sampled=is_sampled,
    )


def pairs_of(points: Sequence[RungPoint]) -> list[Pair]:
    return [(p.metrics["accuracy"], p.metrics["synaptic_ops"]) for p in points]


def test_of_a_family_the_sampled_point_and_those_that_no_other_dominates_are_judged() -> None:
    family = [
        operating_point(0.9, 9.0),
        operating_point(0.5, 9.5, is_sampled=True),
        operating_point(0.8, 9.2),
        operating_point(0.7, 2.0),
    ]
    points = RULE.points(family)
    assert sorted(pairs_of(points)[1:]) == [(0.7, 2.0), (0.9, 9.0)]
    assert pairs_of(points)[0] == (0.5, 9.5)
    assert [point.is_sampled for point in points] == [True, False, False]
    assert points[0].metrics.keys() == set(NAMES)


def test_a_large_family_is_judged_by_a_few_points_far_apart() -> None:
    family = [operating_point(n / 40, float(n), is_sampled=n == 20) for n in range(40)]
    ops = sorted(pair[1] for pair in pairs_of(RULE.points(family)))
    assert len(ops) == 8
    assert (ops[0], ops[-1]) == (0.0, 39.0)
    assert max(b - a for a, b in itertools.pairwise(ops)) <= 10


def test_of_a_family_outside_the_constraints_the_least_violation_counts() -> None:
    rule = StoppingRule(objectives=NAMES, constraints={"accuracy": Bound(min=0.95)})
    family = [operating_point(0.5, 1.0, is_sampled=True), operating_point(0.9, 2.0)]
    assert pairs_of(rule.points([*family, operating_point(0.8, 1.5)])) == [(0.5, 1.0), (0.9, 2.0)]
