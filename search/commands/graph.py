"""`spikefront evaluate FILE.nir`: a NIR graph, whoever wrote it, measured as our networks are."""

import argparse
from typing import TYPE_CHECKING

from search.commands import tables
from search.commands.output import Output
from search.export.graphs import GraphRun, measure_graph
from search.text.units import figure
from snn.settings.measurement import METRICS

if TYPE_CHECKING:
    from search.export.graphs import GraphMeasured


def evaluate_graph(arguments: argparse.Namespace) -> int:
    """Run a graph on data and print its figures."""
    output = Output(as_json=arguments.as_json)
    asked = GraphRun(
        dataset=arguments.dataset,
        timesteps=arguments.timesteps,
        encoding=arguments.encoding,
        dt_s=arguments.dt,
    )
    run = measure_graph(arguments.folder, asked, data_dir=arguments.data, test=arguments.test)
    say(output, run, is_test=arguments.test)
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


def say(output: Output, run: "GraphMeasured", *, is_test: bool) -> None:
    """The figures, how they came about, and what a graph does not tell."""
    about, kind = run.about, "test" if is_test else "validation"
    output.say(
        f"on {run.measured.images} {kind} images of {about.dataset}, {about.encoding} encoding, "
        f"{about.timesteps} timesteps of {about.dt_s:g} s"
    )
    table = tables.plain_table("metric", "now", left=("metric",))
    for name in METRICS:
        value = run.measured.metrics.get(name)
        table.add_row(name, "-" if value is None else figure(name, value))
    output.say(table)
    output.say("training_memory_bytes and training_s: a graph does not tell how it was trained")
    if about.exit > 1:
        output.say(f"this is exit {about.exit} alone: every image runs until there")
    if not run.is_ours:
        output.note(
            "a graph from elsewhere, run with the usual settings; --timesteps, --encoding and --dt "
            "change them"
        )
        if not is_test:
            output.note("it may have been trained on these images; --test takes the test set")
