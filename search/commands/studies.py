"""`spikefront studies`, `status` and `upgrade`: the studies of a store, and its schema."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from search.commands import tables
from search.commands.front import constants, front_of_study, no_front
from search.commands.options import JSON, STORE, STUDY, command, same_places
from search.commands.output import Output
from search.store.store import Store
from search.text.units import duration, moment
from search.trial.trial import RULED_OUT, Event, Trial, TrialState
from snn.settings.setting import counted

if TYPE_CHECKING:
    from search.store.store import StoredStudy, StudySummary

MOST_SHOWN = 8  # of events, and of trials that ended early; --json has all


@command(
    STORE,
    JSON,
    examples=("spikefront studies", "spikefront studies --store sqlite:///elsewhere.db --json"),
)
def studies(arguments: argparse.Namespace) -> int:
    """List the studies of a store with their progress, front size and hypervolume."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        summaries = store.study_summaries()
        url = store.url
    if summaries:
        output.say(tables.studies_table(summaries))
    else:
        run = f"spikefront run STUDY.toml{same_places(arguments, 'store')}"
        output.say(f"no studies in {url} yet; `{run}` makes one")
    output.document({"store": url, "studies": summaries})
    return 0


@command(STORE, JSON, examples=("spikefront upgrade",))
def upgrade(arguments: argparse.Namespace) -> int:
    """Bring a store of an earlier version to the schema of this one; nothing in it is lost.

    `spikefront run` does the same before it writes. Earlier versions then refuse the store.
    """
    from search.store.database import OtherVersionError
    from search.store.schema import REVISION

    output = Output(as_json=arguments.as_json)
    is_upgraded = False
    try:
        store = Store(arguments.store, read_only=True)
    except OtherVersionError:
        store = Store(arguments.store)  # which refuses one of a newer version
        is_upgraded = True
    with store:
        output.say(f"{store.url}: schema {REVISION}{'' if is_upgraded else ', as before'}")
        output.document({"store": store.url, "schema": REVISION, "upgraded": is_upgraded})
    return 0


@command(
    STUDY, STORE, JSON, examples=("spikefront status digits", "spikefront status digits --json")
)
def status(arguments: argparse.Namespace) -> int:
    """Show the progress of a study: running trials, failures with their reasons, events."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        stored = store.stored_study(arguments.study)
        trials = store.trials(arguments.study)
        events = store.events(arguments.study)
        sources = store.prior_trial_sources(arguments.study)
        summary = next(s for s in store.study_summaries() if s.name == arguments.study)
        study = stored.study()
        members = front_of_study(store, study)
        front_size = len(members)
        fault = no_front(store, study) if summary.operating_points and not front_size else ""
        constant = constants(store, study, members)
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    ended = [t for t in trials if t.state in (TrialState.FAILED, TrialState.PRUNED)]
    rejected = [event for event in events if event.kind == RULED_OUT]
    in_store = same_places(arguments, "store")
    pairs = {
        **_progress(stored, summary, trials, front_size, in_store),
        **_search(rejected, sources),
        **({"no front": fault} if fault else {}),
        **({"constant": "; ".join(constant)} if constant else {}),
    }
    if study.question:
        output.say(Text(study.question, style="italic"))
    output.say(tables.pairs_table(pairs, title=stored.name))
    if running:
        word = "running" if stored.is_running else "interrupted, will run again"
        output.say(Text(f"{word}: {', '.join(_running(trial) for trial in running)}"))
    _say_ended(output, ended, f"spikefront show {study.name} TRIAL{in_store}")
    _say_events(output, [event for event in events if event.kind != RULED_OUT])
    output.document(
        {
            **_summary_document(stored, summary, front_size),
            "no_front": fault or None,
            "running": [
                {"trial": t.number, "epochs_done": t.epochs_done + t.epochs_reused} for t in running
            ],
            "ended_early": [
                {
                    "trial": t.number,
                    "state": t.state,
                    "reason": t.reason,
                    "stopped_rung": t.stopped_rung,
                }
                for t in ended
            ],
            "ruled_out": len(rejected),
            "lessons": sources,
            "events": events,
        }
    )
    return 0


def _progress(
    stored: "StoredStudy",
    summary: "StudySummary",
    trials: Sequence[Trial],
    front_size: int,
    in_store: str,
) -> dict[str, str]:
    finished = sum(1 for trial in trials if trial.state.is_finished)
    asked = f" of {summary.trials_asked}" if (summary.trials_asked or 0) >= max(finished, 1) else ""
    stopped = ", ".join(f"{n} at rung {rung}" for rung, n in summary.stopped_at.items())
    reused = f", {summary.epochs_reused} more reused from cached blocks"
    return {
        "objectives": ", ".join(stored.objectives),
        "state": _driver(stored, in_store),
        "trials": f"{finished}{asked} finished ({tables.counts(summary.counts)})",
        **({"stopped early": f"{sum(summary.stopped_at.values())} ({stopped})"} if stopped else {}),
        "epochs trained": f"{summary.epochs_trained}{reused if summary.epochs_reused else ''}",
        "training": duration(sum(trial.timings.training_s for trial in trials)),
        "evaluation": duration(sum(trial.timings.evaluation_s for trial in trials)),
        "operating points": f"{summary.operating_points}, {front_size} on the front",
        "hypervolume": tables.hypervolume(summary.hypervolume),
        "started": moment(summary.created_at),
        "last change": moment(summary.last_change_at),
    }


def _search(rejected: Sequence[Event], sources: Mapping[str, int]) -> dict[str, str]:
    """Return the candidates that were rejected without training, and earlier results."""
    pairs = {}
    if rejected:
        pairs["rejected"] = (
            f"{counted(len(rejected), 'configuration')}, without training; "
            f"the last: {rejected[-1].message}"
        )
    if sources:
        results = ", ".join(f"{count} of {source}" for source, count in sources.items())
        pairs["earlier results"] = f"{results}; given to the sampler, not trials of this study"
    return pairs


def _driver(stored: "StoredStudy", in_store: str) -> str:
    if not stored.is_running and stored.lease_holder is not None:
        return (
            f"not running: process {stored.lease_holder} ended unexpectedly. Continue with: "
            f"spikefront run STUDY.toml{in_store}"
        )
    if not stored.is_running:
        return "not running"
    stop = ", asked to stop" if stored.stop_requested else ""
    return f"running: {stored.lease_holder}, lease until {moment(stored.lease_until)}{stop}"


def _running(trial: Trial) -> str:
    total = trial.config.total_epochs if trial.config else "?"
    return f"trial {trial.number} (epoch {trial.epochs_done + trial.epochs_reused} of {total})"


def _say_ended(output: Output, ended: Sequence[Trial], command: str) -> None:
    if not ended:
        return
    more = f" (the last {MOST_SHOWN} of {len(ended)})" if len(ended) > MOST_SHOWN else ""
    output.say()
    output.say(f"ended early{more}; details: {command}")
    for trial in ended[-MOST_SHOWN:]:
        style = tables.STATE_STYLES[trial.state]
        output.say(
            Text.assemble(
                f"  trial {trial.number:<5}", (f"{trial.state.value:8}", style), trial.reason
            )
        )


def _say_events(output: Output, events: Sequence[Event]) -> None:
    if not events:
        return
    output.say()
    output.say("last events:")
    for event in events[-MOST_SHOWN:]:
        trial = "" if event.trial is None else f"trial {event.trial}: "
        output.say(Text(f"  {moment(event.at)}  {event.kind:10} {trial}{event.message}"))


def _summary_document(
    stored: "StoredStudy", summary: "StudySummary", front_size: int
) -> dict[str, object]:
    return {
        "study": stored.name,
        "question": summary.question,
        "objectives": stored.objectives,
        "reference": stored.reference,
        "is_running": stored.is_running,
        "lease_holder": stored.lease_holder,
        "lease_until": stored.lease_until,
        "stop_requested": stored.stop_requested,
        "trials": summary.counts,
        "trials_asked": summary.trials_asked,
        "stopped_at": summary.stopped_at,
        "epochs_trained": summary.epochs_trained,
        "epochs_reused": summary.epochs_reused,
        "operating_points": summary.operating_points,
        "front_size": front_size,
        "hypervolume": summary.hypervolume,
        "created_at": summary.created_at,
        "last_change_at": summary.last_change_at,
    }
