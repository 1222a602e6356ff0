"""`spikefront validate`, `init`, `backbones`: to check a study file, to begin one, to fill it."""

import argparse
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from search.commands import InputError, tables
from search.commands.options import DATA, JSON, STUDY_FILE, command, option
from search.commands.output import Output
from search.pruners.rungs import rule_of
from search.study.axes import BlockAxis, ExitAxis, When
from search.study.remarks import remarks
from search.study.space import RandomSuggest, describe_prior
from search.study.study import Study, load_study, study_from_toml
from search.study.template import study_text, templates
from search.text.units import figure, percent, scaled
from search.trial.trial import Params
from snn.settings.backbones import BACKBONES, Backbone
from snn.settings.config import ConfigError, RunConfig
from snn.settings.datasets import is_recorded
from snn.settings.setting import counted

if TYPE_CHECKING:
    from snn.data.events.report import Report

SAMPLED = 5  # configurations whose cost is estimated
TRIES = 200  # drawn at random until there are as many that can run

GP_TRIALS = 100  # search/samplers/optuna_sampler.py: what the model of "gp" sees


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Estimated cost of a run with one configuration of the space."""

    params: Params
    parameters: int
    model_bytes: int  # as if every connection existed
    training_memory_bytes: int
    macs_per_image: float  # as if every connection existed and every input were non-zero
    epochs: int  # over all blocks


@command(STUDY_FILE, DATA, JSON, examples=("spikefront validate studies/digits.toml",))
def validate(arguments: argparse.Namespace) -> int:
    """Check a study file and print its space, the size of the space and the cost of a run.

    Nothing is trained. Data sets that are on this machine are checked, too, and damaged ones
    refused; of recordings it says what they are like.
    """
    output = Output(as_json=arguments.as_json)
    asked = load_study(arguments.study_file)
    study, precision = _settled(asked)
    remarks = _remarks_on_data(study, arguments.data)
    _say_study(output, asked, precision)
    recordings = recordings_of(study, arguments.data)
    for name, found in recordings.items():
        output.say(f"Data set {name}:")
        for line in found.lines():
            output.say(f"  {line}")
    costs = sorted(sampled_costs(study), key=lambda cost: cost.training_memory_bytes)
    if study.train is None:
        _say_costs(output, costs)
    else:
        output.say(f"an own training, whose cost is not known: {study.train}, code {study.code}")
    rule = rule_of(study)
    rungs = {} if rule is None else {n: rule.rung_epochs(n) for n in training_lengths(study)}
    _say_rungs(output, rungs)
    for line in remarks:
        output.note(line)
    document = _document(asked, costs, rungs)
    document |= {"precision": precision or None, "data": remarks}
    document["recordings"] = {name: asdict(found) for name, found in recordings.items()}
    output.document(document)
    return 0


@command(
    option("name", "name of the new study and of its file", metavar="NAME"),
    option(
        "--template",
        f"study to copy: one of {', '.join(templates())}; default digits",
        metavar="STUDY",
        default="digits",
    ),
    JSON,
    examples=("spikefront init my-study", "spikefront init my-mnist --template mnist"),
)
def init(arguments: argparse.Namespace) -> int:
    """Write a study file to start from, NAME.toml, with every setting explained.

    A file that exists is not overwritten.
    """
    output = Output(as_json=arguments.as_json)
    name = arguments.name.removesuffix(".toml")
    text = study_text(name, arguments.template)
    study_from_toml(text, "init")  # raises for a name that no study may have
    path = Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} exists; choose another name, or move the file") from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{Path.cwd() / path} cannot be written: {reason}; work in another folder"
        ) from error
    output.say(f"{path}: study {name}, copied from {arguments.template}. Edit it, then:")
    output.say(f"  spikefront validate {path}")
    output.say(f"  spikefront run {path}")
    output.document({"study": name, "file": str(path), "template": arguments.template})
    return 0


def _settled(study: Study) -> tuple[Study, str]:
    """Return the study as this machine would begin it, and what precision `auto` is and why."""
    if study.run.get("precision") != "auto":
        return study, ""
    from search.runners import precision

    return precision.settled(study, precision.device_of(study, None))


@command(JSON, examples=("spikefront backbones", "spikefront backbones --json"))
def backbones(arguments: argparse.Namespace) -> int:
    """List the named architectures: text, parameters, source, and what they are.

    Parameters are those of a network of one block with the settings in the column before them: the
    published ones, or else the defaults.
    """
    output = Output(as_json=arguments.as_json)
    table = Table(box=None, pad_edge=False)
    for column in ("name", "architecture", "with", "parameters", "source"):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    found = []
    for backbone in BACKBONES.values():
        settings = dict(backbone.published) or {"dataset": "digits", "width": RunConfig.width}
        parameters = _parameters(backbone, settings)
        shown = ", ".join(
            str(value) if name == "dataset" else f"{name} {value}"
            for name, value in settings.items()
        )
        row = (backbone.name, backbone.text, shown, figure("parameters", parameters))
        table.add_row(*row, backbone.source)
        found.append(
            {
                "name": backbone.name,
                "architecture": backbone.text,
                "meaning": backbone.meaning,
                "source": backbone.source or None,
                "settings": settings,
                "parameters": parameters,
            }
        )
    output.say(table)
    output.document({"backbones": found})
    return 0


def _parameters(backbone: Backbone, settings: dict[str, str | int]) -> int:
    from search.worker import engine

    config = RunConfig.from_mapping({**settings, "backbone": backbone.name})
    return engine.lower_bound(config, images=1, memory=False).parameters


def _say_study(output: Output, study: Study, precision: str) -> None:
    if study.question:
        output.say(Text(study.question, style="italic"))
    output.say(_space_table(study))
    budget = study.budget
    pairs = {
        "objectives": ", ".join(study.objectives),
        "constraints": ", ".join(tables.limits(*bound) for bound in study.constraints.items())
        or "none",
        "shared settings": ", ".join(f"{n} = {v}" for n, v in study.run.items()) or "none",
        "configurations": _size(study.space.size()),
        "budget": ", ".join(_budget(study)) or "unlimited: stop with Ctrl-C",
        "workers": f"{budget.workers}, each with {counted(budget.cpus_per_trial, 'processor')} "
        f"and {counted(budget.gpus_per_trial, 'GPU')}",
        "sampler": ", ".join(_sampler(study)),
        "early stopping": _stopping(study),
    }
    if precision:
        pairs["precision"] = f"{precision} (a study that has begun keeps its own)"
    output.say(tables.pairs_table(pairs, title=study.name))


def _sampler(study: Study) -> Iterator[str]:
    """Yield the sampler and the settings of the search that differ from the defaults."""
    search = study.search
    yield search.sampler
    if search.sampler == "gp" and (study.budget.trials or math.inf) > GP_TRIALS:
        yield f"a proposal takes seconds, its model sees {GP_TRIALS} trials; tpe sees all"
    if search.initial_points:
        yield f"after {counted(len(search.initial_points), 'initial point')}"
    if search.warm_start:
        yield f"warm start from {' and '.join(search.warm_start)}"
    if search.repeats > 1:
        yield f"each configuration with {search.repeats} seeds"
    if study.prefix_share:
        yield f"{percent(study.prefix_share)} of the trials reuse first blocks of the front"
    if search.share_operating_points:
        yield "is told further operating points of each trial"


def _stopping(study: Study) -> str:
    rule = rule_of(study)
    if rule is None:
        return "none"
    where = " and ".join(percent(fraction) for fraction in rule.fractions)
    return (
        f"{study.search.stopping}: the best 1 of {rule.reduction:g} trials continues after {where} "
        "of the epochs"
    )


def _space_table(study: Study) -> Table:
    axes = study.space.axes
    columns: tuple[str, ...] = ("axis", "kind", "range")
    if any(axis.when for axis in axes.values()):
        columns = (*columns, "only when")
    table = tables.plain_table(*columns, left=columns)
    for name, axis in axes.items():
        cells = (name, _kind(axis), axis.describe() + describe_prior(axis), _when(axis.when))
        table.add_row(*(Text(cell) for cell in cells[: len(columns)]))
    return table


def _kind(axis: object) -> str:
    names = {"PartitionAxis": "partition", "ExitAxis": "per exit"}
    if isinstance(axis, ExitAxis):
        per = "block" if isinstance(axis, BlockAxis) else "exit"
        return f"{type(axis.each).__name__.lower()} per {per}"
    return names.get(type(axis).__name__, type(axis).__name__.lower())


def _when(conditions: When) -> str:
    items = conditions.items()
    return " and ".join(f"{other} is {' or '.join(map(str, values))}" for other, values in items)


def _size(size: float) -> str:
    return "infinitely many" if math.isinf(size) else f"{size:,}"


def _budget(study: Study) -> Iterator[str]:
    budget = study.budget
    for name in ("trials", "epochs", "hours"):
        value = getattr(budget, name)
        if value is not None:
            yield f"{value:g} {name}"


def recordings_of(study: Study, root: Path) -> "dict[str, Report]":
    """Return a report of each data set of recordings in the space that is on this machine.

    Time is cut as in the first random configuration with the data set.
    """
    from search.commands.run import datasets_of

    wanted = {name for name in datasets_of(study) if is_recorded(name)}
    if not wanted or study.train is not None:
        return {}
    from search.worker.job import run_config
    from snn.data.events import own
    from snn.data.events.binning import cut_of
    from snn.data.events.report import report
    from snn.data.events.store import open_store
    from snn.data.image_files import DataError

    found: dict[str, Report] = {}
    suggest = RandomSuggest(seed=study.search.seed)
    for _ in range(TRIES):
        try:
            config = run_config(study, study.space.sample(suggest))
        except ConfigError:
            continue
        name = config.dataset
        if name not in wanted:
            continue
        wanted.remove(name)
        with contextlib.suppress(DataError):  # `validate` and `run` tell it
            store = open_store(own.SOURCES[name].layout(root))
            found[name] = report(store, cut_of(config), config.delta_threshold)
    return found


def sampled_costs(study: Study) -> Iterator[Cost]:
    """Yield the costs of a few random configurations of the space."""
    from search.worker import engine
    from search.worker.job import run_config

    if study.train is not None:  # nothing is known of it
        return
    suggest = RandomSuggest(seed=study.search.seed)
    seen: set[str] = set()
    for _ in range(TRIES):
        if len(seen) >= SAMPLED:
            return
        params = study.space.sample(suggest)
        try:
            config = run_config(study, params)
        except ConfigError:  # settings that exclude each other; a search rejects them too
            continue
        if config.training_fingerprint not in seen:
            seen.add(config.training_fingerprint)
            plan = engine.plan(config)
            yield Cost(
                params=params,
                parameters=plan.parameters,
                model_bytes=plan.model_bytes,
                training_memory_bytes=plan.training_memory_bytes,
                macs_per_image=plan.macs_per_image,
                epochs=config.total_epochs,
            )


def chosen(costs: Sequence[Cost]) -> dict[str, Cost]:
    """Return the first, the middle and the last of costs sorted by training memory."""
    if not costs:
        return {}
    named = {"smallest": costs[0], "typical": costs[len(costs) // 2], "largest": costs[-1]}
    kept: dict[str, Cost] = {}
    for name, cost in named.items():
        if all(cost is not other for other in kept.values()):
            kept[name] = cost
    return kept


def _say_costs(output: Output, costs: Sequence[Cost]) -> None:
    if not costs:
        output.say(
            f"none of {TRIES} random configurations can run: settings of [run] and [space] exclude "
            "each other"
        )
        return
    table = tables.plain_table(
        "run",
        "training memory",
        "parameters",
        "model (dense)",
        "MACs per image",
        "epochs",
        "configuration",
        title=f"Cost of {len(costs)} random configurations, sorted by training memory",
        left=("run", "configuration"),
    )
    for name, cost in chosen(costs).items():
        table.add_row(
            name,
            figure("training_memory_bytes", cost.training_memory_bytes),
            scaled(cost.parameters),
            figure("model_bytes", cost.model_bytes),
            scaled(cost.macs_per_image),
            str(cost.epochs),
            Text(", ".join(f"{n}={_short(v)}" for n, v in cost.params.items())),
        )
    output.say(table)
    output.say(
        "MACs: as if every connection existed and every input were non-zero; a search counts real "
        "spikes"
    )


def training_lengths(study: Study) -> list[int]:
    """Return the numbers of epochs over all blocks that random configurations have, ascending."""
    suggest = RandomSuggest(seed=study.search.seed)
    lengths = set()
    for _ in range(TRIES):
        with contextlib.suppress(ConfigError):
            config = study.config(study.space.sample(suggest))
            lengths.add(config.total_epochs)
    return sorted(lengths)


def _say_rungs(output: Output, rungs: Mapping[int, Mapping[int, int]]) -> None:
    for total in rungs:
        epochs = ", ".join(f"{epoch} (rung {rung})" for epoch, rung in rungs[total].items())
        output.say(
            f"a training of {counted(total, 'epoch')} "
            + (f"may be stopped after epoch {epochs}" if epochs else "is too short to be stopped")
        )


def _remarks_on_data(study: Study, root: Path) -> list[str]:
    """Return a line per suspicious property of a data set, as `run` prints it.

    A data set that is not here gives a line too: the study may run elsewhere. Raises DataError for
    one that is damaged.
    """
    from search.commands.run import check_dataset, datasets_of
    from snn.data.image_files import MissingDataError

    if study.train is not None:  # which reads its data itself
        return []
    names = datasets_of(study)
    lines = list(remarks(study, names))
    for name in names:
        try:
            lines += check_dataset(name, root)
        except MissingDataError as error:
            lines.append(f"not checked: {error}")
    return lines


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _document(
    study: Study, costs: Sequence[Cost], rungs: Mapping[int, Mapping[int, int]]
) -> dict[str, object]:
    return {
        "study": study.name,
        "question": study.question,
        "objectives": study.objectives,
        "constraints": {name: bound.to_mapping() for name, bound in study.constraints.items()},
        "budget": study.budget,
        "run": study.run,
        "sampler": study.search.sampler,
        "stopping": study.search.stopping,
        "rungs": [
            {"epochs_total": total, "epochs": list(epochs), "rungs": list(epochs.values())}
            for total, epochs in rungs.items()
        ],
        "space": {
            name: {"kind": _kind(axis), "range": axis.describe(), "when": axis.when}
            for name, axis in study.space.axes.items()
        },
        "different_runs": study.space.size(),  # null for an infinite space
        "costs": chosen(costs),
    }
