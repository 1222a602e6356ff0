"""The contract of samplers, which propose configurations; the sampler of a study.

A new sampler is a module here with a function `make_sampler` (arguments as below), and a line
in `SAMPLERS` of `search/study/methods.py`. It must propose the same after it was rebuilt from the
stored trials: what it has to remember is stored with the trial it belongs to.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from search.study.methods import SAMPLERS
from search.study.study import Study
from search.trial.rejected import SamplerState
from search.trial.rung import RungReport
from search.trial.trial import Params, Trial
from snn.settings.measurement import OperatingPoint


@runtime_checkable
class Sampler(Protocol):
    """Proposes configurations and learns from the results."""

    def ask(self, number: int, attempt: int = 0) -> tuple[Params, SamplerState]:
        """Return the configuration of trial `number`, and what must be stored with it.

        A further `attempt` draws another configuration; the one before is withdrawn
        unless it was rejected.
        """
        ...

    def replace(self, number: int, params: Params, state: SamplerState) -> SamplerState:
        """Let trial `number` run `params` instead of the proposal that came with `state`.

        Returns what must be stored with the trial.
        """
        ...

    def reject(self, number: int, violation: float) -> None:
        """Learn that the proposal for trial `number` is infeasible and will not run.

        The trial must be asked for again; what is stored with it then tells a rebuilt
        sampler of this proposal too. `violation` (above 0) is how far it is outside.
        """
        ...

    def tell(
        self,
        trial: Trial,
        shared: Sequence[Trial] = (),
        family: Sequence[OperatingPoint] = (),
    ) -> None:
        """Learn from a finished trial, proposed here or elsewhere.

        `shared` are further configurations that the same training has answered; `family` are
        the operating points of the network, given to the samplers of FAMILIES.
        """
        ...


@runtime_checkable
class Listener(Sampler, Protocol):
    """A sampler that also learns from trials that go on."""

    def hear(self, number: int, report: RungReport) -> None:
        """Learn what the running trial `number` measured at a rung; it may be stopped there.

        Reports of finished trials come when a sampler was rebuilt. A report that comes twice
        counts once.
        """
        ...


def make_sampler(
    study: Study,
    history: Sequence[Trial] = (),
    *,
    prior: Sequence[Trial] = (),
    shared: Mapping[int, Sequence[Trial]] | None = None,
    families: Mapping[int, Sequence[OperatingPoint]] | None = None,
) -> Sampler:
    """Return the study's sampler in the state after `history`; unfinished trials are running.

    `prior` are finished trials of other studies, which fit this space, and were told
    first; `shared` and `families` are what was told with each trial, by number.
    Raises ValueError for a trial that is not in the space.
    """
    module = importlib.import_module(SAMPLERS[study.search.sampler])
    sampler: Sampler = module.make_sampler(
        study, history, prior=prior, shared=shared or {}, families=families or {}
    )
    return sampler
