"""Bayesian optimization of other libraries on a replay, as their documentation shows it.

These take flat spaces: an axis that a configuration does not have is drawn all the same.
"""

import logging
import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.search.problem import Problem
from benchmarks.search.replay import Ended, Epoch
from search.study.axes import Integer, PlainAxis, Real, Value
from search.study.dimension import Drawn
from search.trial.trial import Params
from snn.settings.measurement import METRICS


class AxSearch:
    """Ax with its defaults: Sobol points, then qLogNEHVI of BoTorch for several objectives."""

    reuses_blocks = False

    def __init__(self, record: Problem, seed: int) -> None:
        logging.disable(logging.WARNING)
        warnings.filterwarnings("ignore", module="(ax|botorch|gpytorch|linear_operator)[.]")
        from ax.api.client import Client

        self._study = record.study
        self._client = Client()
        self._client.configure_experiment(
            parameters=[_of_ax(n, axis) for n, axis in self._study.space.dimensions().items()]
        )
        signs = ("-" if METRICS[name].sign > 0 else "" for name in self._study.objectives)
        terms = (sign + name for sign, name in zip(signs, self._study.objectives, strict=True))
        self._client.configure_optimization(objective=", ".join(terms))
        self._client.configure_generation_strategy(initialization_random_seed=seed)
        self._running: dict[int, int] = {}

    def ask(self, number: int) -> Params | None:
        """See Strategy."""
        ((index, values),) = self._client.get_next_trials(max_trials=1).items()
        self._running[number] = index
        return self._study.space.sample(Drawn(values))

    def stops(self, number: int, epoch: Epoch) -> bool:
        """See Strategy."""
        del number, epoch
        return False

    def tell(self, number: int, ended: Ended) -> None:
        """Tell the result; a diverged trial is a failed one."""
        index = self._running.pop(number)
        if ended.last is None or not ended.is_complete:
            self._client.mark_trial_failed(trial_index=index)
            return
        metrics = ended.last.sampled.metrics
        data = {name: float(metrics[name]) for name in self._study.objectives}
        self._client.complete_trial(trial_index=index, raw_data=data)


def _of_ax(name: str, axis: PlainAxis) -> Any:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if isinstance(axis, Integer | Real) and (axis.step in (1, None)):
        return RangeParameterConfig(
            name=name,
            bounds=(axis.low, axis.high),
            parameter_type="int" if isinstance(axis, Integer) else "float",
            scaling="log" if axis.log else "linear",
        )
    values: Any = list(axis.values)
    kinds = {int: "int", float: "float", str: "str"}
    kind: Any = kinds[type(values[0])]
    is_ordered = kind != "str"
    return ChoiceParameterConfig(
        name=name, values=values, parameter_type=kind, is_ordered=is_ordered
    )


class SmacSearch:
    """SMAC3's facade for hyperparameters with ParEGO, its algorithm for several objectives."""

    reuses_blocks = False

    def __init__(self, record: Problem, seed: int) -> None:
        from smac import HyperparameterOptimizationFacade, Scenario

        self._study = record.study
        self._folder = tempfile.TemporaryDirectory()  # it writes its history
        scenario = Scenario(
            _of_smac(self._study.space.dimensions(), seed),
            objectives=list(self._study.objectives),
            deterministic=True,
            n_trials=10_000,  # the budget is of epochs
            seed=seed,
            output_directory=Path(self._folder.name),
        )
        facade: Any = HyperparameterOptimizationFacade
        self._facade = facade(
            scenario,
            lambda config, seed=0: [math.inf],  # never called: it is asked and told
            initial_design=facade.get_initial_design(scenario, n_configs=10),
            multi_objective_algorithm=facade.get_multi_objective_algorithm(scenario),
            logging_level=False,
            overwrite=True,
        )
        self._running: dict[int, Any] = {}

    def ask(self, number: int) -> Params | None:
        """See Strategy."""
        info = self._running[number] = self._facade.ask()
        values = {name: _plain(value) for name, value in dict(info.config).items()}
        return self._study.space.sample(Drawn(values))

    def stops(self, number: int, epoch: Epoch) -> bool:
        """See Strategy."""
        del number, epoch
        return False

    def tell(self, number: int, ended: Ended) -> None:
        """Tell the result; a diverged trial is a crashed one."""
        from smac.runhistory.dataclasses import TrialValue
        from smac.runhistory.enumerations import StatusType

        info = self._running.pop(number)
        if ended.last is None or not ended.is_complete:
            costs = [math.inf] * len(self._study.objectives)
            value = TrialValue(cost=costs, status=StatusType.CRASHED)
        else:
            metrics = ended.last.sampled.metrics
            names = self._study.objectives
            value = TrialValue(cost=[METRICS[name].sign * metrics[name] for name in names])
        self._facade.tell(info, value, save=False)


def _of_smac(axes: Mapping[str, PlainAxis], seed: int) -> Any:
    from ConfigSpace import Categorical, ConfigurationSpace, Float
    from ConfigSpace import Integer as Whole

    space = ConfigurationSpace(seed=seed)
    for name, axis in axes.items():
        if isinstance(axis, Integer) and axis.step == 1:
            space.add(Whole(name, (axis.low, axis.high), log=axis.log))
        elif isinstance(axis, Real) and axis.step is None:
            space.add(Float(name, (axis.low, axis.high), log=axis.log))
        else:
            is_ordered = not isinstance(axis.values[0], str)
            space.add(Categorical(name, list(axis.values), ordered=is_ordered))
    return space


def _plain(value: Any) -> Value:
    """Return a value of NumPy as one of Python."""
    plain: Value = value.item() if hasattr(value, "item") else value
    return plain
