"""`spikefront studies` and `status`: what a store holds, how far a study is."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from search.commands import tables
from search.commands.output import Output
from search.store.store import Store
from search.study.study import study_from_toml
from search.text.units import duration, moment
from search.trial.trial import RULED_OUT, Event, Trial, TrialState

if TYPE_CHECKING:
    from search.store.store import StoredStudy, StudySummary

LAST_EVENTS = 8  # shown by `status`; --json has all
LAST_FAILURES = 8


def studies(arguments: argparse.Namespace) -> int:
    """A line per study of the store."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        summaries = store.study_summaries()
        url = store.url
    if summaries:
        output.say(tables.studies_table(summaries))
    else:
        output.say(f"no studies in {url} yet; `spikefront run STUDY.toml` makes one")
    output.document({"store": url, "studies": summaries})
    return 0


def status(arguments: argparse.Namespace) -> int:
    """How far a study is, and what went wrong."""
    output = Output(as_json=arguments.as_json)
    with Store(arguments.store, read_only=True) as store:
        stored = store.stored_study(arguments.study)
        trials = store.trials(arguments.study)
        events = store.events(arguments.study)
        lessons = store.prior_trial_sources(arguments.study)
        summary = next(s for s in store.study_summaries() if s.name == arguments.study)
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    ended = [t for t in trials if t.state in (TrialState.FAILED, TrialState.PRUNED)]
    ruled_out = [event for event in events if event.kind == RULED_OUT]
    _say_status(output, stored, summary, trials, ruled_out, lessons)
    if running:
        word = "running" if stored.is_running else "was running, and will run again"
        output.say(Text(f"{word}: {', '.join(_running(trial) for trial in running)}"))
    _say_ended(output, ended)
    _say_events(output, [event for event in events if event.kind != RULED_OUT])
    output.document(
        {
            **_summary_document(stored, summary),
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
            "ruled_out": len(ruled_out),
            "lessons": lessons,
            "events": events,
        }
    )
    return 0


def _say_status(
    output: Output,
    stored: "StoredStudy",
    summary: "StudySummary",
    trials: Sequence[Trial],
    ruled_out: Sequence[Event],
    lessons: Mapping[str, int],
) -> None:
    study = study_from_toml(stored.toml, stored.name)
    asked = f" of {summary.trials_asked}" if summary.trials_asked else ""
    finished = sum(1 for trial in trials if trial.state.is_finished)
    hypervolume = "-" if summary.hypervolume is None else f"{summary.hypervolume:.4f}"
    pairs = {
        "objectives": ", ".join(stored.objectives),
        "state": _driver(stored),
        "trials": f"{finished}{asked} finished ({tables.counts(summary.counts)})",
        **_stopped(summary.stopped_at),
        "epochs trained": _epochs(summary.epochs_trained, summary.epochs_reused),
        "training": duration(sum(trial.timings.training_s for trial in trials)),
        "evaluation": duration(sum(trial.timings.evaluation_s for trial in trials)),
        "operating points": f"{summary.operating_points}, {summary.front_size} on the front",
        "hypervolume": hypervolume,
        "begun": moment(summary.created_at),
        "last change": moment(summary.last_change_at),
    }
    if ruled_out:
        pairs["ruled out"] = (
            f"{len(ruled_out)} points, before any of them was tried; the last: "
            f"{ruled_out[-1].message}"
        )
    if lessons:
        results = ", ".join(f"{count} of {source}" for source, count in lessons.items())
        pairs["learned from"] = f"results from elsewhere, no trials of this study: {results}"
    if study.question:
        output.say(Text(study.question, style="italic"))
    output.say(tables.pairs_table(pairs, title=stored.name))


def _driver(stored: "StoredStudy") -> str:
    if not stored.is_running and stored.lease_holder is not None:
        return f"not running: {stored.lease_holder} is gone; the same command goes on"
    if not stored.is_running:
        return "not running"
    stop = ", asked to stop" if stored.stop_requested else ""
    return f"running: {stored.lease_holder}, lease until {moment(stored.lease_until)}{stop}"


def _running(trial: Trial) -> str:
    total = trial.config.total_epochs if trial.config else "?"
    return f"trial {trial.number} (epoch {trial.epochs_done + trial.epochs_reused} of {total})"


def _stopped(by_rung: Mapping[int, int]) -> dict[str, str]:
    if not by_rung:
        return {}
    where = ", ".join(f"{count} at rung {rung}" for rung, count in by_rung.items())
    return {"stopped early": f"{sum(by_rung.values())} ({where})"}


def _epochs(trained: int, reused: int) -> str:
    return f"{trained}, {reused} more saved by blocks trained before" if reused else str(trained)


def _say_ended(output: Output, ended: Sequence[Trial]) -> None:
    if not ended:
        return
    left_out = len(ended) - LAST_FAILURES
    more = f" (the last {LAST_FAILURES} of {len(ended)})" if left_out > 0 else ""
    output.say()
    output.say(f"ended early{more}, `spikefront show STUDY TRIAL` says all:")
    for trial in ended[-LAST_FAILURES:]:
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
    for event in events[-LAST_EVENTS:]:
        trial = "" if event.trial is None else f"trial {event.trial}: "
        output.say(Text(f"  {moment(event.at)}  {event.kind:10} {trial}{event.message}"))


def _summary_document(stored: "StoredStudy", summary: "StudySummary") -> dict[str, object]:
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
        "front_size": summary.front_size,
        "hypervolume": summary.hypervolume,
        "created_at": summary.created_at,
        "last_change_at": summary.last_change_at,
    }
