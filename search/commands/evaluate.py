"""`spikefront evaluate`: an exported folder, or a NIR graph, run on data."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.commands import InputError, tables
from search.commands.options import DATA, JSON, command, option, path, positive_integer
from search.commands.options import positive_real as seconds
from search.commands.output import Output
from search.export.folder import (
    CONFIG,
    WEIGHTS,
    Difference,
    Folder,
    differences,
    read_folder,
)
from search.export.reproduction import elsewhere, tolerable
from search.text.artifacts import sha256_of
from snn.settings import extensions
from snn.settings.datasets import sample_of
from snn.settings.measurement import METRICS
from snn.settings.setting import counted

if TYPE_CHECKING:
    from search.export.graphs import GraphMeasured
    from snn.settings.measurement import Evaluation

GRAPH_OPTIONS = (
    option(
        "--dataset", "data set of a NIR file (default: the one in its metadata)", metavar="NAME"
    ),
    option(
        "--timesteps",
        "timesteps to run a NIR file for (default: those in its metadata, otherwise 4)",
        metavar="T",
        type=positive_integer,
    ),
    option(
        "--encoding",
        "encoding of the images for a NIR file (default: that in its metadata, otherwise direct)",
        choices=("direct", "poisson"),
    ),
    option(
        "--dt",
        "length of a timestep of a NIR file, seconds (default: that in its metadata, otherwise "
        "1e-4)",
        metavar="S",
        type=seconds,
    ),
)


@command(
    option("folder", "exported folder, or a NIR file", metavar="DIR|FILE.nir", type=path),
    DATA,
    option("--test", "use the test images, not the validation images", action="store_true"),
    *GRAPH_OPTIONS,
    JSON,
    examples=(
        "spikefront evaluate runs/digits-best",
        "spikefront evaluate runs/digits-best --test --json",
        "spikefront evaluate theirs.nir --dataset digits --timesteps 8 --test",
    ),
)
def evaluate(arguments: argparse.Namespace) -> int:
    """Run an exported folder on data and compare its metrics with the recorded ones.

    Also measures a NIR file of any origin. The exit code is 1 if weights, data or metrics
    differ from the recorded ones.
    """
    if arguments.folder.suffix.lower() == ".nir":
        return _evaluate_graph(arguments)
    for name in ("dataset", "timesteps", "encoding", "dt"):
        if getattr(arguments, name) is not None:
            raise InputError(
                f"--{name}: has an effect only on a NIR file; an exported folder is run as its "
                f"{CONFIG} says"
            )
    from search.worker import engine

    output = Output(as_json=arguments.as_json)
    folder = read_folder(arguments.folder)
    device, threads = device_of(folder), threads_of(folder)
    evaluation = engine.evaluate_weights(
        folder.config,
        folder.weights,
        data_dir=arguments.data,
        device=device,
        threads=threads,
        test=arguments.test,
    )
    recorded = folder.recorded.test if arguments.test else folder.recorded.validation
    found = _findings(folder, engine.dataset_fingerprint(folder.config, arguments.data))
    unlike = () if recorded is None else differences(recorded, evaluation.sampled.metrics)
    other = elsewhere(folder.recorded.environment, engine.environment(device, threads))
    within = bool(unlike) and bool(other) and tolerable(unlike)
    measured = _with_training_time(evaluation, recorded)
    kind = "test" if arguments.test else "validation"
    output.say(f"on {evaluation.images} {kind} {sample_of(folder.config.dataset)}s")
    columns = {"now": measured} | ({} if recorded is None else {"recorded": dict(recorded)})
    output.say(tables.metric_columns(columns, {**METRICS, **extensions.ADDED_METRICS}))
    for finding in found:
        output.say(finding)
    output.say(_conclusion(recorded, unlike, other, within=within))
    output.document(
        {
            "folder": folder.path,
            "on": kind,
            "images": evaluation.images,
            "metrics": measured,
            "recorded": recorded,
            "is_equal": None if recorded is None else not unlike and not found,
            "differences": unlike,
            "elsewhere": other,
            "is_within_tolerance": None if recorded is None else not unlike or within,
            "findings": found,
        }
    )
    return 1 if found or (unlike and not within) else 0


def device_of(folder: Folder) -> str:
    """Return the device of the recorded metrics: cpu, or auto for any GPU."""
    return "cpu" if folder.recorded.environment.get("device", "cpu") == "cpu" else "auto"


def threads_of(folder: Folder) -> int:
    """Return the threads of the recorded metrics: as many threads round sums alike."""
    threads = folder.recorded.environment.get("threads")
    return threads if isinstance(threads, int) and 0 < threads <= 1024 else 1


def _findings(folder: Folder, data_fingerprint: str) -> list[str]:
    """Return changes of weights and data since the folder was written."""
    recorded, found = folder.recorded, []
    weights = sha256_of(folder.weights)
    if weights != recorded.weights_sha256:
        found.append(
            f"changed weights: {WEIGHTS} has SHA-256 {weights}, recorded {recorded.weights_sha256}"
        )
    if recorded.data_fingerprint is not None and data_fingerprint != recorded.data_fingerprint:
        found.append(
            f"other data: {folder.config.dataset} has fingerprint {data_fingerprint}, "
            f"recorded {recorded.data_fingerprint}"
        )
    return found


def _with_training_time(
    evaluation: "Evaluation", recorded: Mapping[str, float] | None
) -> dict[str, float]:
    """Return measured metrics, with the recorded time of the training, which was not repeated."""
    time_s = (recorded or {}).get("training_s", float("nan"))
    return {**evaluation.sampled.metrics, "training_s": time_s}


def _conclusion(
    recorded: Mapping[str, float] | None,
    unlike: tuple[Difference, ...],
    other: list[str],
    *,
    within: bool,
) -> str:
    if recorded is None:
        return "no test metrics are recorded here; `spikefront export --test` records them"
    if not unlike:
        return "exactly equal to the recorded metrics (training_s is recorded, not measured again)"
    lines = [f"  {difference}" for difference in unlike]
    machine = "; ".join(other)
    if within:
        head = f"small differences, as expected on another machine ({machine}):"
    elif other:
        head = f"differences too large for another machine ({machine}); check weights and data:"
    else:
        head = "differs from the recorded metrics:"
    return "\n".join([head, *lines])


def _evaluate_graph(arguments: argparse.Namespace) -> int:
    """Run a NIR graph of any origin on data."""
    from search.export.graphs import GraphRun, measure_graph

    output = Output(as_json=arguments.as_json)
    asked = GraphRun(
        dataset=arguments.dataset,
        timesteps=arguments.timesteps,
        encoding=arguments.encoding,
        dt_s=arguments.dt,
    )
    run = measure_graph(arguments.folder, asked, data_dir=arguments.data, test=arguments.test)
    _say_graph(output, run, is_test=arguments.test)
    output.document(
        {
            "file": arguments.folder,
            "on": "test" if arguments.test else "validation",
            "images": run.measured.images,
            "metrics": {name: run.measured.metrics.get(name) for name in METRICS},
            "layers": run.measured.layers,
            "run": run.about,
            "data": {"dataset": run.about.dataset, "fingerprint": run.data_fingerprint},
        }
    )
    return 0


def _say_graph(output: Output, run: "GraphMeasured", *, is_test: bool) -> None:
    from snn.interchange.description import UNKNOWN

    about, kind = run.about, "test" if is_test else "validation"
    sample = sample_of(about.dataset)
    output.say(
        f"on {counted(run.measured.images, f'{kind} {sample}')} of {about.dataset}, "
        f"{about.encoding} encoding, "
        f"{counted(about.timesteps, 'timestep')} of {about.dt_s:g} s"
    )
    output.say(tables.metric_columns({"now": run.measured.metrics}))
    output.say(f"{', '.join(UNKNOWN)} are not known: a graph has no training")
    for note in run.measured.notes:
        output.note(note)
    if about.exit > 1:
        output.say(f"this is exit {about.exit} alone: every {sample} runs through all its blocks")
    if not run.is_ours:
        output.note(
            "a graph of another program, run with default settings; change them with --timesteps, "
            "--encoding and --dt"
        )
        if not is_test:
            output.note(
                f"it may have been trained on these {sample}s; use --test for the test ones"
            )
