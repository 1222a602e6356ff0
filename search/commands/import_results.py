"""`spikefront import`: earlier results for the sampler of a study."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands import InputError
from search.commands.options import JSON, STORE, STUDY_FILE, command, option, same_places
from search.commands.output import Output
from search.runners import precision
from search.runners.driver import check_question
from search.store.store import Store
from search.study.prior_trials import PriorTrials, fitting, read_csv
from search.study.study import load_study
from snn.settings.setting import counted

if TYPE_CHECKING:
    from search.study.study import Study


@command(
    STUDY_FILE,
    option(
        "source",
        "an Optuna storage, as URL or URL#STUDY, or a CSV file with a column per parameter and "
        "metric",
        metavar="FROM",
    ),
    STORE,
    JSON,
    examples=(
        "spikefront import studies/digits.toml sqlite:///optuna.db#digits",
        "spikefront import studies/digits.toml earlier.csv",
    ),
)
def import_results(arguments: argparse.Namespace) -> int:
    """Give the sampler of a study earlier results over the same space.

    Results come from an Optuna study or a CSV file. They are not trials of the study.
    """
    output = Output(as_json=arguments.as_json)
    asked = load_study(arguments.study_file)
    source, prior = _read(arguments.source, asked)
    if not prior.trials:
        reasons = "; ".join(f"{count} {why}" for why, count in prior.skipped.items())
        raise InputError(
            f"{source}: no result fits {asked.source}: {reasons or 'it has no trials'}"
        )
    with Store(arguments.store) as store:
        study, why = precision.settled(asked, precision.device_of(asked, None), store)
        check_question(store, study)
        store.create_study(study)
        if why and not precision.reason_of(store, study.name):
            store.add_event(study.name, precision.EVENT, why)
        changes = store.add_prior_trials(study.name, source, prior.trials)
        known = len(prior.trials) - changes.new - changes.changed
        message = f"{counted(changes.new, 'result')} from {source} given to the sampler"
        if changes.changed or changes.removed:
            message += f"; {changes.changed} changed, {changes.removed} removed since the import"
        if any(changes):
            store.add_event(study.name, "import", message)
    output.say(f"{study.name}: {message}" + (f"; {known} were imported before" if known else ""))
    for why, count in prior.skipped.items():
        output.note(f"{counted(count, 'trial')} left out: {why}")
    output.say(
        "imported results use no budget and are not part of the front\n"
        f"next: spikefront run {arguments.study_file}{same_places(arguments, 'store')}"
    )
    output.document(
        {
            "study": study.name,
            "source": source,
            "imported": changes.new,
            "changed": changes.changed,
            "removed": changes.removed,
            "known": known,
            "skipped": dict(prior.skipped),
        }
    )
    return 0


def _read(source: str, study: "Study") -> tuple[str, PriorTrials]:
    """Return the name of the source as it is stored, and its trials."""
    if "://" in source:
        from search.samplers.optuna_files import Address, read_study

        address, found = read_study(Address.of(source), study)
        return address.source, fitting(study, found)
    path = Path(source)
    if path.suffix.lower() != ".csv":
        raise InputError(
            f"{source}: must be a CSV file, or an Optuna storage like sqlite:///optuna.db#STUDY"
        )
    return str(path.resolve()), fitting(study, read_csv(path, study))
