"""Every command of the release: its purpose, its examples, its options."""

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_STORE = "sqlite:///runs/spikefront.db"
DEFAULT_ARTIFACTS = "runs/artifacts"
DEFAULT_DATA = "data"
DEFAULT_PORT = 8501
DEFAULT_SEEDS = 3
SHELLS = ("bash", "zsh", "fish", "tcsh")
DEVICES = ("auto", "cpu", "cuda")
PICKS = 'knee, best:METRIC, or bounds such as "accuracy>=0.95 model_bytes<=1e5 best:synaptic_ops"'


class UsageError(ValueError):
    """A command line that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: where its code is, and how it explains itself."""

    name: str
    module: str  # in search.commands, where the function of this name runs it
    purpose: str  # one sentence
    examples: tuple[str, ...]
    options: str  # keys of OPTIONS in the order of the help
    function: str = ""  # where it has another name, because Python's word it is


COMMANDS = (
    Command(
        name="run",
        module="run",
        purpose="Search the space of a study file, and keep every trial in the store; "
        "a study that exists goes on where it stopped.",
        examples=(
            "spikefront run studies/digits.toml",
            "spikefront run studies/digits.toml --workers 0 --trials 4",
            "spikefront run studies/digits.toml --hours 0.5 --set width=8 --set time_rule=bptt",
        ),
        options="study_file store artifacts data trials hours workers ray set device_of_study logs "
        "json",
    ),
    Command(
        name="studies",
        module="studies",
        purpose="List the studies of a store: how far each is, and what it found.",
        examples=(
            "spikefront studies",
            "spikefront studies --store sqlite:///elsewhere.db --json",
        ),
        options="store json",
    ),
    Command(
        name="status",
        module="studies",
        purpose="Say how far a study is, what runs now, what failed and why.",
        examples=("spikefront status digits", "spikefront status digits --json"),
        options="study store json",
    ),
    Command(
        name="front",
        module="front",
        purpose="Print the front of a study: the operating points that no other one dominates.",
        examples=(
            "spikefront front digits",
            "spikefront front digits --all-metrics",
            'spikefront front digits --pick "accuracy>=0.9 best:synaptic_ops"',
        ),
        options="study all_metrics pick_of_front store json",
    ),
    Command(
        name="compare",
        module="compare",
        purpose="Put studies side by side: what each spent, and how much its front covers, "
        "measured from one reference.",
        examples=("spikefront compare digits my-study", "spikefront compare a b c --json"),
        options="studies_to_compare store json",
    ),
    Command(
        name="confirm",
        module="confirm",
        purpose="Train members of a front again with fresh seeds, run them on the test images, "
        "and keep mean and spread; what was done before is not done again.",
        examples=(
            "spikefront confirm digits",
            "spikefront confirm digits --pick knee --pick best:accuracy --seeds 5",
            "spikefront confirm digits --workers 0",
        ),
        options="study seeds picks store artifacts data workers ray device_of_study logs json",
    ),
    Command(
        name="show",
        module="trial",
        purpose="Show one trial: its parameters, curves, operating points, layers and exits, "
        "or its error.",
        examples=("spikefront show digits 3", "spikefront show digits 3 --json"),
        options="study trial_number store json",
    ),
    Command(
        name="export",
        module="folder",
        purpose="Write an operating point as a folder that runs elsewhere: config, weights, "
        "figures and a model card; or a whole study for Optuna.",
        examples=(
            "spikefront export digits --out runs/digits-best",
            "spikefront export digits --pick best:accuracy --out best --test",
            "spikefront export digits --trial 3 --out runs/trial-3",
            "spikefront export digits --out runs/digits-nir --nir",
            "spikefront export digits --optuna sqlite:///optuna.db",
        ),
        options="study trial pick out_of_point optuna force nir nir_form test_too data store json",
    ),
    Command(
        name="import",
        module="interchange",
        function="import_results",
        purpose="Let the sampler of a study learn from earlier results over the same space: "
        "an Optuna study, or a CSV file.",
        examples=(
            "spikefront import studies/digits.toml sqlite:///optuna.db#digits",
            "spikefront import studies/digits.toml earlier.csv",
        ),
        options="study_file earlier store json",
    ),
    Command(
        name="evaluate",
        module="folder",
        purpose="Run an exported folder on data, and print its figures beside the recorded ones; "
        "or measure a NIR file, whoever wrote it.",
        examples=(
            "spikefront evaluate runs/digits-best",
            "spikefront evaluate runs/digits-best --test --json",
            "spikefront evaluate theirs.nir --dataset digits --timesteps 8 --test",
        ),
        options="folder data test_only dataset timesteps encoding dt json",
    ),
    Command(
        name="train",
        module="train",
        purpose="Train one network without a search, from an exported folder or a config file.",
        examples=(
            "spikefront train runs/digits-best",
            "spikefront train my-config.toml --out runs/mine",
        ),
        options="config_or_folder out force data device logs json",
    ),
    Command(
        name="init",
        module="study_file",
        purpose="Write a study file to start from, NAME.toml in this folder, "
        "with every setting explained.",
        examples=("spikefront init my-study", "spikefront init my-mnist --template mnist"),
        options="study_name template json",
    ),
    Command(
        name="validate",
        module="study_file",
        purpose="Read a study file, print its space, the space's size and what a run costs; "
        "trains nothing.",
        examples=("spikefront validate studies/digits.toml",),
        options="study_file json",
    ),
    Command(
        name="doctor",
        module="doctor",
        purpose="Check this machine: packages, GPU, Ray, the store, data sets, the environment; "
        "what is missing, and what to do.",
        examples=("spikefront doctor", "spikefront doctor --start-ray --data /data/images --json"),
        options="store artifacts data start_ray json",
    ),
    Command(
        name="completion",
        module="completion",
        purpose="Print a script that lets a shell complete commands, options and files.",
        examples=(
            "source <(spikefront completion bash)",
            "spikefront completion fish > ~/.config/fish/completions/spikefront.fish",
        ),
        options="shell",
    ),
    Command(
        name="dashboard",
        module="dashboard",
        purpose="Serve the results of a store as pages on this machine; Ctrl-C stops it.",
        examples=("spikefront dashboard", "spikefront dashboard --port 8600"),
        options="store port",
    ),
)


def add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    """Give `parser` the arguments of `command`."""
    parser.set_defaults(of=command)
    for key in command.options.split():
        OPTIONS[key](parser)


def fill_in(arguments: argparse.Namespace) -> None:
    """Give a store and a data folder that were not named the environment's, or the usual ones."""
    if hasattr(arguments, "store") and arguments.store is None:
        arguments.store = from_environment("SPIKEFRONT_STORE", DEFAULT_STORE)
    if hasattr(arguments, "data") and arguments.data is None:
        arguments.data = Path(from_environment("SPIKEFRONT_DATA", DEFAULT_DATA))


def positive_integer(text: str) -> int:
    """An argument that counts something there must be one of."""
    return int(_number(text, int, "a whole number from 1", lambda value: value >= 1))


def natural(text: str) -> int:
    """An argument that counts something, none included."""
    return int(_number(text, int, "a whole number from 0", lambda value: value >= 0))


def positive_real(text: str) -> float:
    """An argument that is an amount."""
    return _number(text, float, "a number above 0", lambda v: v > 0 and math.isfinite(v))


def port_number(text: str) -> int:
    """An argument that is a TCP port."""
    return int(_number(text, int, "a port from 1 to 65535", lambda value: 1 <= value <= 65535))


def _number(
    text: str, kind: Callable[[str], float], allowed: str, is_right: Callable[[float], bool]
) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan  # which is right for nothing
    if not is_right(value):
        raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}")
    return value


def assignment(text: str) -> tuple[str, str]:
    """`AXIS=VALUE`; what the value means is for the axis to say."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"must be written AXIS=VALUE, like width=8, got {text!r}")
    return name, value


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got ''")
    return Path(text)


def from_environment(name: str, default: str) -> str:
    """The value of an environment variable; one that is empty counts as unset."""
    return os.environ.get(name) or default


def _option(flag: str, help_text: str, **settings: Any) -> Callable[[argparse.ArgumentParser], Any]:
    return lambda parser: parser.add_argument(flag, help=help_text, **settings)


def _add_logs(parser: argparse.ArgumentParser) -> None:
    """How much is told of what goes on, and where; see `search.text.log`."""
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "-v",
        "--verbose",
        help="log on stderr what is done; -vv logs every step (default: $SPIKEFRONT_LOG, otherwise "
        "warnings)",
        action="count",
        default=0,
    )
    amount.add_argument(
        "-q",
        "--quiet",
        help="no progress: warnings, and the result",
        action="store_true",
    )
    parser.add_argument(
        "--log",
        help="add the log to a file, with what -v says or more",
        metavar="FILE",
        type=_path,
    )


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], Any]] = {
    "study_file": _option("study_file", "study file", metavar="STUDY.toml", type=_path),
    "shell": _option("shell", "bash, zsh, fish or tcsh", metavar="SHELL", choices=SHELLS),
    "study_name": _option("name", "name of the new study, and of its file", metavar="NAME"),
    "template": _option(
        "--template",
        "study that it is a copy of: digits (default), mnist, smoke, cifar10-resnet9",
        metavar="STUDY",
        default="digits",
    ),
    "studies_to_compare": _option(
        "studies", "names of studies in the store, two or more", metavar="STUDY", nargs="+"
    ),
    "study": _option("study", "name of a study in the store", metavar="STUDY"),
    "trial_number": _option("trial", "number of a trial, from 0", metavar="TRIAL", type=natural),
    "folder": _option(
        "folder", "exported folder, or a NIR file", metavar="DIR|FILE.nir", type=_path
    ),
    "config_or_folder": _option(
        "source",
        "exported folder, or a TOML file of run settings (what stands in [run])",
        metavar="DIR|CONFIG.toml",
        type=_path,
    ),
    "store": _option(
        "--store",
        "where results are kept: sqlite:///FILE or postgresql://... "
        f"(default: $SPIKEFRONT_STORE, otherwise {DEFAULT_STORE})",
        metavar="URL",
    ),
    "artifacts": _option(
        "--artifacts",
        "place for trained weights: a folder, or a URI that pyarrow opens, like "
        "s3://bucket/folder (default: %(default)s)",
        metavar="DIR|URI",
        default=DEFAULT_ARTIFACTS,
    ),
    "data": _option(
        "--data",
        f"folder of data sets (default: $SPIKEFRONT_DATA, otherwise {DEFAULT_DATA}/)",
        metavar="DIR",
        type=_path,
    ),
    "trials": _option(
        "--trials",
        "trials that the study may have in all, instead of its file's",
        metavar="N",
        type=positive_integer,
    ),
    "hours": _option(
        "--hours",
        "hours after which no trial is begun, instead of the file's",
        metavar="H",
        type=positive_real,
    ),
    "workers": _option(
        "--workers",
        "trials at a time, each on a Ray worker; 0 runs them one after another in this "
        "process, without Ray (default: the study's)",
        metavar="N",
        type=natural,
    ),
    "ray": _option("--ray", "Ray cluster to use (default: one on this machine)", metavar="ADDRESS"),
    "start_ray": _option(
        "--start-ray", "start Ray too, as a run does: seconds that tell most", action="store_true"
    ),
    "set": _option(
        "--set",
        "fix an axis or a run setting; may be given several times",
        metavar="AXIS=VALUE",
        dest="sets",
        action="append",
        default=[],
        type=assignment,
    ),
    "device": _option(
        "--device",
        "where to train (default: what a folder was made on, otherwise auto: a GPU if any)",
        choices=DEVICES,
    ),
    "device_of_study": _option(
        "--device",
        "where to train (default: auto if the study gives trials a GPU, otherwise cpu)",
        choices=DEVICES,
    ),
    "json": _option(
        "--json",
        "print one JSON document on stdout; text for people goes to stderr",
        dest="as_json",
        action="store_true",
    ),
    "logs": _add_logs,
    "all_metrics": _option(
        "--all-metrics",
        "every metric, not only objectives and constraints",
        action="store_true",
    ),
    "pick_of_front": _option("--pick", f"only the point picked by {PICKS}", metavar="SPEC"),
    "pick": _option("--pick", f"point of the front: {PICKS} (default: knee)", metavar="SPEC"),
    "picks": _option(
        "--pick",
        f"only the point picked by {PICKS}; may be given several times (default: the whole front)",
        metavar="SPEC",
        dest="picks",
        action="append",
        default=[],
    ),
    "seeds": _option(
        "--seeds",
        "seeds that each point shall have in all (default: %(default)s)",
        metavar="N",
        type=positive_integer,
        default=DEFAULT_SEEDS,
    ),
    "trial": _option(
        "--trial",
        "the point that this trial sampled, or with --pick the pick among the trial's points",
        metavar="N",
        type=natural,
    ),
    "out_of_point": _option("--out", "folder to write", metavar="DIR", type=_path),
    "optuna": _option(
        "--optuna",
        "write the whole study to an Optuna storage instead, as URL#NAME or under its own name",
        metavar="URL",
    ),
    "earlier": _option(
        "source",
        "an Optuna storage, as URL or URL#STUDY, or a CSV file with a column per parameter and "
        "metric",
        metavar="FROM",
    ),
    "out": _option("--out", "write the trained network as a folder", metavar="DIR", type=_path),
    "force": _option(
        "--force",
        "replace the folder of --out if it is an exported one, or the study of --optuna if it was "
        "written here",
        action="store_true",
    ),
    "nir": _option(
        "--nir",
        "write NIR graphs for other simulators too, one per exit",
        action="store_true",
    ),
    "nir_form": _option(
        "--nir-form",
        "with --nir: plain, or norse without average pools and LIF nodes (default: plain)",
        choices=("plain", "norse"),
    ),
    "dataset": _option(
        "--dataset", "data set of a NIR file (default: the one that it names)", metavar="NAME"
    ),
    "timesteps": _option(
        "--timesteps",
        "timesteps that a NIR file is run (default: its own, otherwise 4)",
        metavar="T",
        type=positive_integer,
    ),
    "encoding": _option(
        "--encoding",
        "how images enter a NIR file (default: its own, otherwise direct)",
        choices=("direct", "poisson"),
    ),
    "dt": _option(
        "--dt",
        "seconds of a timestep of a NIR file (default: its own, otherwise 1e-4)",
        metavar="S",
        type=positive_real,
    ),
    "test_too": _option(
        "--test", "evaluate on the test set too, and record it", action="store_true"
    ),
    "test_only": _option(
        "--test", "on the test set instead of the validation set", action="store_true"
    ),
    "port": _option(
        "--port",
        "port to serve on (default: %(default)s)",
        metavar="P",
        type=port_number,
        default=DEFAULT_PORT,
    ),
}
