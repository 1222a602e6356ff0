"""Every command of `spikefront`: its name, its code, its line in `spikefront --help`.

A new command is a function marked with `search.commands.options.command`, in a file of
`search/commands`, and a line here.
"""

import importlib
from typing import NamedTuple

from search.commands.options import Command


class Entry(NamedTuple):
    """One command, before its code is imported."""

    name: str
    place: str  # module:function, the module in search.commands
    summary: str

    def load(self) -> Command:
        """Import the code of the command."""
        module, _, function = self.place.partition(":")
        command = getattr(importlib.import_module(f"search.commands.{module}"), function)
        assert isinstance(command, Command)
        return command


COMMANDS = [
    Entry("run", "run:run", "search the space of a study, or continue an earlier search"),
    Entry("studies", "studies:studies", "list the studies of a store"),
    Entry("status", "studies:status", "show the progress and the failures of a study"),
    Entry("upgrade", "studies:upgrade", "bring a store of an earlier version to this one"),
    Entry("front", "front:front", "print the Pareto front of a study"),
    Entry("compare", "compare:compare", "compare studies: their cost and their fronts"),
    Entry("confirm", "confirm:confirm", "train members of a front again with other seeds"),
    Entry("show", "trial:show", "show everything about one trial"),
    Entry("export", "export:export", "write an operating point as a folder, or a study for Optuna"),
    Entry(
        "import", "import_results:import_results", "give earlier results to the sampler of a study"
    ),
    Entry("evaluate", "evaluate:evaluate", "run an exported folder or a NIR file on data"),
    Entry("train", "train:train", "train one network without a search"),
    Entry("init", "study_file:init", "write a study file to start from"),
    Entry("validate", "study_file:validate", "check a study file and estimate the cost of a run"),
    Entry("backbones", "study_file:backbones", "list the named architectures, as texts"),
    Entry("doctor", "doctor:doctor", "check this machine: packages, GPU, Ray, store, data sets"),
    Entry("completion", "completion:completion", "print a script for completion in a shell"),
    Entry("dashboard", "dashboard:dashboard", "serve the results of a store as web pages"),
]
