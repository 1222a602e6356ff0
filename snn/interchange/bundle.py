"""Bundle: the files of an exported network, a graph per exit and the plan of all exits.

The graph of the last exit is the network without early exits. The graph of an earlier exit
is the same network up to this exit, so that a simulator can run exit after exit.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from snn.interchange import files
from snn.interchange.description import GRAPH, PLAN, Description
from snn.interchange.wiring import ExitGraph, Form, graphs
from snn.network.network import Network

PLAN_FORMAT = 1


def write_all(
    network: Network,
    folder: Path,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    form: Form = "plain",
) -> list[str]:
    """Write the graphs of a folded network and their plan; return the names of the files.

    Raises InterchangeError with every part that NIR cannot express.
    """
    made = graphs(network, mean=mean, std=std, form=form)
    names = [_name(exit_graph, len(made)) for exit_graph in made]
    for name, exit_graph in zip(names, made, strict=True):
        files.write(exit_graph.graph, folder / name)
    plan = _plan(network, names, made, form)
    (folder / PLAN).write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    return [*reversed(names), PLAN]


def _name(exit_graph: ExitGraph, exits: int) -> str:
    number = exit_graph.about.exit
    return GRAPH if number == exits else f"{Path(GRAPH).stem}-exit{number}.nir"


def _of_images(about: Description) -> dict[str, object]:
    return {"pixels": "divided by 255", "mean": about.mean, "std": about.std}


def _plan(
    network: Network, names: Sequence[str], made: Sequence[ExitGraph], form: Form
) -> dict[str, object]:
    config, about = network.config, made[-1].about
    thresholds = [*config.exit_threshold, None]
    return {
        "spikefront_nir": PLAN_FORMAT,
        "form": form,
        "dt_s": about.dt_s,
        "timesteps": about.timesteps,
        "input": {
            "dataset": about.dataset,
            "encoding": about.encoding,
            "image_shape": network.task.image_shape,
            **({"cut": about.cut} if about.cut else _of_images(about)),
        },
        "output": {
            "readout": about.readout,
            "readout_leak": about.readout_leak,
            "loss": config.loss,
        },
        "exits": [
            {
                "exit": exit_graph.about.exit,
                "file": name,
                "reads": exit_graph.reads,
                "confidence_threshold": threshold,
                "classes": exit_graph.about.classes,
                "votes": exit_graph.about.votes,
                "hard_classes": network.block(index).head.hard,
            }
            for index, (name, exit_graph, threshold) in enumerate(
                zip(names, made, thresholds, strict=True)
            )
        ],
        "exit_combination": config.exit_combination,
        "detector": config.detector,
        "detector_threshold": config.detector_threshold,
    }
