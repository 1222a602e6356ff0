"""Results of a store for scripts and notebooks: fronts, their points, trials, comparisons."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from search.front.merged import MergedPoint, merge_equal
from search.front.picks import knee, pick
from search.store.store import Store, StoredPoint
from search.study.study import Study
from search.text.requirements import needs
from search.trial.trial import Trial
from snn.settings.setting import counted

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go  # type: ignore[import-untyped]

    from search.commands.compare import Comparison, Side
    from search.export.export import Exported
    from search.export.own_files import ExportedFiles
    from search.trial.confirmation import Confirmed
    from search.trial.function_config import Config

PARAM = "params_"  # prefix of a parameter's column, as in Optuna's data frames


class ResultStore(Store):
    """A store whose results are sequences with data frames and figures. See `open_store`."""

    def study(self, name: str) -> Study:
        """Return a study as it was asked. Raises StoreError or StudyError."""
        return self.stored_study(name).study()

    def front(self, study: str) -> Front:
        """Return the Pareto front of a study, the best in the first objective first."""
        return Front(self, self.study(study))

    def trials(self, study: str, *, configs: bool = True) -> Trials:
        """Return the trials of a study by number."""
        return Trials(super().trials(study, configs=configs))

    def compare(self, studies: Sequence[str]) -> StudyComparison:
        """Compare two or more studies. Raises InputError without a shared objective."""
        from search.commands.compare import compared

        return StudyComparison(compared(self, list(dict.fromkeys(studies))))


class Front(Sequence["Point"]):
    """The operating points of a study that no other one dominates; equal ones appear once."""

    def __init__(self, store: ResultStore, study: Study) -> None:
        self.study = study
        self._store = store
        merged = merge_equal(store.operating_points(study.name, front_only=True))
        first = study.objectives[0]
        merged.sort(key=lambda m: study.metrics[first].sign * m.point.point.metrics[first])
        confirmed = store.confirmed(study.name)
        self._points = tuple(
            Point(store=store, study=study, merged=m, confirmed=confirmed.get(m.point.id))
            for m in merged
        )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that the study optimises."""
        return self.study.objectives

    @property
    def hypervolume(self) -> float | None:
        """The share of the box between ideal and reference that the front dominates, 0 to 1."""
        records = self._store.hypervolume(self.study.name)
        return records[-1].value if records else None

    @property
    def knee(self) -> Point:
        """The point with the smallest sum of scaled objectives. Raises PickError if empty."""
        return self._of(knee(self._stored, self.objectives, self.study.metrics))

    def best(self, metric: str) -> Point:
        """Return the point that is best in a metric. Raises PickError."""
        return self.pick(f"best:{metric}")

    def pick(self, spec: str) -> Point:
        """Return the point of a pick, as in `spikefront front --pick`. Raises PickError.

        `knee`, `best:METRIC`, or bounds before them: `"accuracy>=0.97 best:synaptic_ops"`.
        """
        return self._of(pick(self._stored, spec, self.objectives, self.study.metrics))

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per point: trial, metrics, operating point, `params_...`."""
        return _frame([point.to_dict() for point in self])

    def plot(
        self, x: str | None = None, y: str | None = None, color: str | None = None
    ) -> go.Figure:
        """Return a plotly figure of the front, as on the dashboard, with the other points faded.

        Axes are metrics, parameters, or `timesteps` and `blocks` of the operating point; by
        default the second and the first objective, coloured by the third. Raises ValueError for
        an unknown name.
        """
        _require("plotly")
        from dashboard.figures.study import front_figure

        return front_figure(self._store, self.study, x=x, y=y, colour=color)

    @functools.cached_property
    def _stored(self) -> list[StoredPoint]:
        return [point.merged.point for point in self._points]

    def _of(self, stored: StoredPoint) -> Point:
        return next(point for point in self._points if point.merged.point is stored)

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Point]: ...
    def __getitem__(self, index: int | slice) -> Point | Sequence[Point]:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __repr__(self) -> str:
        return f"<front of {self.study.name}: {counted(len(self), 'point')}>"

    def _repr_html_(self) -> str:
        """Return the front as notebooks show it."""
        return str(self.to_dataframe()._repr_html_())


@dataclass(frozen=True, kw_only=True, repr=False)
class Point:
    """A trained network at an operating point: exit thresholds and timesteps."""

    store: ResultStore
    study: Study
    merged: MergedPoint[StoredPoint]
    confirmed: Confirmed | None  # its runs with other seeds on the test images

    @property
    def trial(self) -> int:
        """Number of its trial."""
        return self.merged.point.trial

    @property
    def trials(self) -> tuple[int, ...]:
        """Numbers of all trials that have this point: their trainings are equal."""
        return self.merged.trials

    @property
    def params(self) -> Mapping[str, object]:
        """Parameters of the trial."""
        return self.merged.point.params

    @property
    def metrics(self) -> Mapping[str, float]:
        """Every metric, on validation images; NaN where it is unknown."""
        return self.merged.point.point.metrics

    @property
    def timesteps(self) -> int:
        """Timesteps at inference."""
        return self.merged.point.point.timesteps

    @property
    def blocks(self) -> int:
        """Blocks of the network that it uses."""
        return self.merged.point.point.blocks

    @property
    def exit_thresholds(self) -> tuple[float, ...]:
        """Confidence threshold of each exit before the last."""
        return self.merged.point.point.exit_thresholds

    @property
    def config(self) -> Config:
        """All settings of its training."""
        config = self.store.trial(self.study.name, self.trial).config
        assert config is not None
        return config

    def to_dict(self) -> dict[str, object]:
        """Return the point as a row: `trial`, metrics, operating point, `params_...`."""
        point = self.merged.point.point
        row: dict[str, object] = {"trial": self.trial}
        row |= {name: point.metrics[name] for name in self.study.objectives}
        if self.study.train is not None:
            row |= {n: v for n, v in point.metrics.items() if n not in row and not math.isnan(v)}
            row |= {"point": point.label} if point.label else {}
        else:
            row |= {name: value for name, value in point.metrics.items() if name not in row}
            row |= {
                "timesteps": point.timesteps,
                "blocks": point.blocks,
                "exit_thresholds": point.exit_thresholds,
            }
        if self.confirmed is not None:
            spread = self.confirmed.spread("accuracy")
            row |= {"test_accuracy": spread.mean, "test_accuracy_std": spread.std}
        return row | {f"{PARAM}{name}": value for name, value in self.params.items()}

    def export(
        self,
        out: Path | str,
        *,
        data: Path | str | None = None,
        test: bool = False,
        nir: bool = False,
        force: bool = False,
    ) -> Exported | ExportedFiles:
        """Write the network as a folder, as `spikefront export` does; `snn.load` reads it.

        Of an own training: the files that it kept. `data` is the folder of data sets (default:
        $SPIKEFRONT_DATA, otherwise data/). Raises ExportError, DataError or InterchangeError in
        one line.
        """
        from search.commands.options import usual_data
        from search.export.export import export_point
        from search.export.own_files import export_files

        if self.study.train is not None:
            if test or nir:
                raise ValueError("an own training has no network of the engine: no test, no nir")
            return export_files(self.store, self.study, self.merged.point, Path(out), force=force)
        return export_point(
            self.store,
            self.study.name,
            self.merged.point,
            Path(out),
            data_dir=Path(usual_data() if data is None else data),
            force=force,
            test=test,
            nir_form="plain" if nir else None,
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.metrics[name]:.4g}" for name in self.study.objectives)
        return f"<point of trial {self.trial}: {shown}>"


class Trials(list[Trial]):
    """Trials of a study by number."""

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per trial: state, metrics of the sampled point, times, `params_...`."""
        return _frame([_trial_row(trial) for trial in self])


def _trial_row(trial: Trial) -> dict[str, object]:
    row: dict[str, object] = {"trial": trial.number, "state": trial.state.value}
    if trial.sampled is not None:
        row |= trial.sampled.metrics
    row |= {
        "epochs_done": trial.epochs_done,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
        "reason": trial.reason,
    }
    return row | {f"{PARAM}{name}": value for name, value in trial.params.items()}


class StudyComparison(Sequence["Side"]):
    """Studies side by side: what each spent, and how good its front is."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that all studies share."""
        return self.comparison.objectives

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row per study."""
        rows = []
        for side in self:
            row = {name: value for name, value in vars(side).items() if name != "best"}
            best = {f"best_{n}": side.best.get(n, math.nan) for n in self.objectives}
            rows.append(row | best)
        return _frame(rows)

    @overload
    def __getitem__(self, index: int) -> Side: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Side]: ...
    def __getitem__(self, index: int | slice) -> Side | Sequence[Side]:
        return self.comparison.sides[index]

    def __len__(self) -> int:
        return len(self.comparison.sides)

    def __iter__(self) -> Iterator[Side]:
        return iter(self.comparison.sides)

    def _repr_html_(self) -> str:
        return str(self.to_dataframe()._repr_html_())


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    _require("pandas")
    import pandas as pd

    return pd.DataFrame(list(rows))


def _require(module: str) -> None:
    """Raise ImportError with the command that installs a missing package."""
    from search.text.requirements import is_there

    if not is_there(module):
        raise ImportError(f"this {needs(module)}", name=module)


__all__ = ["Front", "Point", "ResultStore", "StudyComparison", "Trials"]
