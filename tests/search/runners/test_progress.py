"""What people see while a study runs."""

import io
import math
import re
from dataclasses import replace

from rich.console import Console

from search.runners.display import watch
from search.runners.live import LiveProgress
from search.runners.progress import Lines, Progress, RunningTrial, StudyProgress
from search.trial.trial import Outcome, Timings, TrialState
from snn.settings.config import RunConfig
from snn.settings.measurement import Measurement, Metric
from tests.search.fake_engine import evaluation

MEASUREMENT = Measurement(
    block=2,
    epoch=3,
    epochs_done=7,
    epochs_total=8,
    loss=0.5,
    train_accuracy=0.5,
    accuracy=0.875,
    connectivity=1.0,
    spike_rate=0.1,
    regrown=0,
    training_memory_bytes=1,
    wall_s=0.0,
)
STANDING = StudyProgress(
    study="small",
    counts={TrialState.COMPLETE: 2, TrialState.FAILED: 1, TrialState.RUNNING: 2},
    running=(
        RunningTrial(number=3, epochs_total=8, measurement=MEASUREMENT),
        RunningTrial(number=4, epochs_total=8),
    ),
    trials_asked=9,
    epochs_done=24,
    front_size=5,
    hypervolume=0.625,
    best_accuracy=0.9,
    elapsed_s=30.0,
    left_s=200.0,
)
COMPLETE = Outcome(
    state=TrialState.COMPLETE,
    evaluation=evaluation(RunConfig(width=16)),
    timings=Timings(training_s=4.0),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(progress: Progress) -> None:
    progress.say("Ray started after 4 s")
    progress.update(STANDING)
    progress.finished(2, COMPLETE, STANDING)


def test_without_a_terminal_every_finished_trial_is_a_plain_line() -> None:
    stream = io.StringIO()
    with watch(stream=stream) as progress:
        assert isinstance(progress, Lines)
        shown(progress)
    first, second = stream.getvalue().splitlines()
    assert first == "Ray started after 4 s"
    assert second == (
        "trial 2  complete  accuracy 87.6 %  64 k ops  trained 4 s  "
        "[3/9 trials, front 5, hypervolume 0.625, 3 min 20 s left]"
    )


def test_a_finished_trial_shows_the_objectives_of_its_study() -> None:
    standing = replace(STANDING, objectives=("accuracy", "model_bytes"))
    stream = io.StringIO()
    with watch(stream=stream) as progress:
        progress.finished(2, COMPLETE, standing)
    assert re.match(
        r"trial 2  complete  accuracy 87\.6 %  model_bytes [\d.]+ k?B  trained", stream.getvalue()
    )


def test_quiet_shows_no_progress() -> None:
    stream = Terminal()
    with watch(stream=stream, quiet=True) as progress:
        shown(progress)
    assert stream.getvalue() == ""


def test_on_a_terminal_finished_trials_stay_above_what_is_redrawn() -> None:
    stream = Terminal()
    with watch(stream=stream) as progress:
        assert isinstance(progress, LiveProgress)
        shown(progress)
    text = stream.getvalue()
    assert text.index("Ray started after 4 s") < text.index("trial 2  complete  accuracy 87.6 %")


def test_the_redrawn_part_shows_running_trials_and_a_summary() -> None:
    live = LiveProgress(Terminal())
    live.update(STANDING)
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        console.print(live._draw())
    running, starting, summary = capture.get().splitlines()
    assert "block 2  epoch 3  accuracy 87.5 %" in running
    assert starting.startswith("trial 4")
    assert starting.rstrip().endswith("starting")
    assert summary.rstrip() == (
        "small: 3 of 9 trials, 24 epochs, best accuracy 90.0 %, front 5, hypervolume 0.625, "
        "30 s so far, about 3 min 20 s left"
    )


def test_what_runs_is_shown_in_the_unit_of_an_own_metric() -> None:
    own = Metric(name="energy_uj", unit="uJ", better="lower", meaning="on the board")
    reported = replace(MEASUREMENT, accuracy=math.nan, metrics={"energy_uj": 12.5})
    running = (RunningTrial(number=3, epochs_total=8, measurement=reported),)
    live = LiveProgress(Terminal())
    live.update(replace(STANDING, running=running, metrics={"energy_uj": own}))
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        console.print(live._draw())
    assert "epoch 3  energy_uj 12.5 uJ" in capture.get()


def test_a_trial_that_ended_early_says_why() -> None:
    stream = io.StringIO()
    outcome = Outcome(state=TrialState.PRUNED, reason="diverged: loss is nan")
    Lines(stream).finished(7, outcome, STANDING)
    assert stream.getvalue().startswith("trial 7  pruned  diverged: loss is nan  [")
