"""`spikefront export --optuna` and `spikefront import`: studies to and from Optuna, and CSV."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands import InputError
from search.commands.output import Output
from search.runners.driver import check_question
from search.store.database import is_store
from search.store.store import Store
from search.study.prior_trials import PriorTrials, fitting, read_csv
from search.study.study import load_study, study_from_toml
from search.text.units import counted

if TYPE_CHECKING:
    from search.study.study import Study


def export_to_optuna(arguments: argparse.Namespace) -> int:
    """Write a study to an Optuna storage."""
    from search.samplers.optuna_files import Address, write_study

    output = Output(as_json=arguments.as_json)
    there = Address.of(arguments.optuna)
    if is_store(there.url):
        raise InputError(
            f"--optuna: {there.shown} is a store of spikefront, whose tables have the names of "
            "Optuna's; name another database"
        )
    with Store(arguments.store, read_only=True) as store:
        study = study_from_toml(store.stored_study(arguments.study).toml, arguments.study)
        trials = store.trials(study.name)
        curves = {t.number: store.measurements(study.name, t.number) for t in trials}
    written = write_study(study, trials, curves, there, force=arguments.force)
    there = written.address
    output.say(
        f"{there.shown}#{there.study}: {counted(written.trials, 'trial')} of {study.name}, "
        f"objectives {', '.join(study.objectives)}"
    )
    if written.left_out:
        output.note(f"{counted(written.left_out, 'trial')} not finished, and so left out")
    if len(study.objectives) > 1:
        output.note(
            "Optuna takes no intermediate values of several objectives: the curves are the user "
            "attribute 'curve'"
        )
    output.document(
        {
            "storage": there.shown,
            "study": there.study,
            "trials": written.trials,
            "left_out": written.left_out,
        }
    )
    return 0


def import_results(arguments: argparse.Namespace) -> int:
    """Let a study's sampler learn from earlier results."""
    output = Output(as_json=arguments.as_json)
    study = load_study(arguments.study_file)
    source, lessons = _read(arguments.source, study)
    if not lessons.trials:
        reasons = "; ".join(f"{count} {why}" for why, count in lessons.skipped.items())
        raise InputError(f"{source}: nothing fits {study.source}: {reasons or 'it has no trials'}")
    with Store(arguments.store) as store:
        check_question(store, study)
        store.create_study(study)
        new = store.add_prior_trials(study.name, source, lessons.trials)
        if new:
            message = f"{counted(new, 'result')} from {source} for the sampler to learn from"
            store.add_event(study.name, "import", message)
    known = len(lessons.trials) - new
    output.say(
        f"{study.name}: {counted(new, 'result')} from {source}, for its sampler to learn from"
        + (f"; {known} known already" if known else "")
    )
    for why, count in lessons.skipped.items():
        output.note(f"{counted(count, 'trial')} left out: {why}")
    output.say(
        "they are no trials of the study: no budget is spent on them, and no front has them\n"
        f"next: spikefront run {arguments.study_file}"
    )
    output.document(
        {
            "study": study.name,
            "source": source,
            "imported": new,
            "known": known,
            "skipped": dict(lessons.skipped),
        }
    )
    return 0


def _read(source: str, study: "Study") -> tuple[str, PriorTrials]:
    """What is there, and what to call it."""
    if "://" in source:
        from search.samplers.optuna_files import Address, read_study

        address, found = read_study(Address.of(source), study)
        return f"{address.shown}#{address.study}", fitting(study, found)
    path = Path(source)
    if path.suffix.lower() != ".csv":
        raise InputError(
            f"{source}: must be a CSV file, or an Optuna storage like sqlite:///optuna.db#STUDY"
        )
    return str(path.resolve()), fitting(study, read_csv(path, study))
