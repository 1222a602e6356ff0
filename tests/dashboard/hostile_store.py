"""A store in which every text is an attack: names, questions, parameters, errors, layers."""

import dataclasses
import json
import sqlite3
from pathlib import Path

from search.front.front import front_of
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import HypervolumeRecord, Outcome, TrialState
from snn.settings.measurement import Evaluation
from tests.dashboard.example_store import TOML, example_trials

HOST = "evil.example"
ATTACKS = (
    f"<img src='https://{HOST}/i.png' onerror='window.attacked=1'>",
    "<script>window.attacked=1</script>",
    f"<a href='javascript:window.attacked=1'>x</a><a href='https://{HOST}/a'>y</a>",
    f"![x](https://{HOST}/m.png) [x](https://{HOST}/l) [j](javascript:window.attacked=1)",
    "'; drop table studies; --",
    "../../../../etc/passwd",
    "$(reboot) `reboot` ; reboot",
    "$$\\href{javascript:window.attacked=1}{x}$$ :red[x] :material/warning:",
    '"></div><svg onload="window.attacked=1">',
)
ALL = " ".join(ATTACKS)
PARAM = f"x<b>bold</b>{ATTACKS[0]}{ATTACKS[2]}"


def fill(path: Path) -> str:
    """Write the store; `hostile` can be read by the study reader, `ALL` names one that cannot."""
    url = f"sqlite:///{path}"
    with Store(url) as store:
        for name in ("hostile", "renamed"):
            question = "".join(f"# {attack}\n" for attack in ATTACKS)
            study = study_from_toml(question + TOML.format(name=name, trials=16))
            store.create_study(study)
            store.add_event(name, "note", ALL)
            for each in example_trials(14):
                store.add_trial(name, each.trial)
                for measurement in each.measurements:
                    store.record_measurement(name, each.trial.number, measurement)
                if each.outcome is not None:
                    outcome = _attacking(each.outcome)
                    store.finish_trial(name, each.trial.number, outcome)
            points = store.operating_points(name)
            members = front_of(points, study.objectives, study.constraints)
            record = HypervolumeRecord(trial=12, epochs=9, value=0.5)
            reference = {"accuracy": 0.0, "synaptic_ops": 2.5e5, "training_memory_bytes": 4e7}
            store.update_front(
                name, {p.id for p in members}, reference=reference, hypervolume=[record]
            )
            store.acquire_lease(name, ALL[:200], seconds=3600)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE studies SET name = ? WHERE name = 'renamed'", (ALL,))
        for id_, text in raw.execute("SELECT id, params FROM trials").fetchall():
            params = json.loads(text)
            params |= {PARAM: ATTACKS[id_ % len(ATTACKS)], "surrogate": ATTACKS[id_ % 3]}
            raw.execute("UPDATE trials SET params = ? WHERE id = ?", (json.dumps(params), id_))
    return url


def _attacking(outcome: Outcome) -> Outcome:
    if outcome.state is not TrialState.COMPLETE:
        return dataclasses.replace(outcome, reason=ALL.replace("\n", " "), error=ALL)
    evaluation = outcome.evaluation
    assert isinstance(evaluation, Evaluation)
    layers = tuple(
        dataclasses.replace(layer, name=ATTACKS[place % len(ATTACKS)])
        for place, layer in enumerate(evaluation.layers)
    )
    return dataclasses.replace(outcome, evaluation=dataclasses.replace(evaluation, layers=layers))
