"""Results from elsewhere: studies for Optuna, and Optuna's and CSV's for a study's sampler."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.commands import cli
from search.samplers.optuna_files import Address, read_study
from search.samplers.sampler import make_sampler
from search.store.store import Store
from search.study.prior_trials import ExternalTrial, PriorTrialError, fitting, read_csv
from search.study.study import Study, study_from_toml
from search.trial.trial import TrialState

STUDY = """# Which learning rate?
name = "rates"
objectives = ["accuracy", "synaptic_ops"]

[constraints]
model_bytes = { max = 200_000 }

[budget]
trials = 40

[run]
dataset = "digits"
backbone = "resnet5"
width = 4
epochs = 1
head_hidden = 0
train_images = 100
validation_fraction = 0.1

[space]
partition = { max_blocks = 2 }
exit_threshold = { low = 0.5, high = 0.9, step = 0.1 }
timesteps = { low = 1, high = 3 }
learning_rate = { low = 1e-4, high = 1e-1, log = true }
time_rule = ["bptt", "saf-e"]

[search]
sampler = "tpe"
"""

optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study() -> Study:
    return study_from_toml(STUDY, "rates.toml")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder with the study's file; code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKEFRONT_STORE", f"sqlite:///{tmp_path / 'store.db'}")
    (tmp_path / "rates.toml").write_text(STUDY)

    def _run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(list(words))
        return code, *capsys.readouterr()

    return _run


def earlier(number: int, rate: float, accuracy: float, **changes: Any) -> ExternalTrial:
    values: dict[str, Any] = {
        "number": number,
        "state": TrialState.COMPLETE,
        "params": {"partition": "2", "timesteps": 2, "learning_rate": rate, "time_rule": "bptt"},
        "metrics": {"accuracy": accuracy, "synaptic_ops": 1000.0, "model_bytes": 500.0},
    }
    return ExternalTrial(**{**values, **changes})


def around(best: float, count: int = 24) -> list[ExternalTrial]:
    """Results that are the better the nearer the learning rate is to `best`."""
    rates = [10 ** (-4 + 3 * k / (count - 1)) for k in range(count)]
    near = [1 - abs(rate - best) / (rate + best) for rate in rates]
    return [earlier(k, rate, near[k]) for k, rate in enumerate(rates)]


# ---- what a sampler makes of them


def test_a_search_starts_from_its_prior_trials(study: Study) -> None:
    """TPE draws its first ten points at random; 24 prior trials give it a model at once."""
    asked: dict[float, float] = {}
    for best in (3e-4, 3e-2):
        sampler = make_sampler(study, prior=fitting(study, around(best)).trials)
        drawn = [sampler.ask(number)[0]["learning_rate"] for number in range(8)]
        asked[best] = sorted(float(rate) for rate in drawn)[4]
    assert asked[3e-4] < 3e-3 < asked[3e-2]


def test_without_prior_trials_the_first_points_know_nothing(study: Study) -> None:
    sampler, taught = make_sampler(study), make_sampler(study, prior=())
    assert [sampler.ask(k)[0] for k in range(3)] == [taught.ask(k)[0] for k in range(3)]


def test_a_lesson_counts_as_what_it_was(study: Study) -> None:
    found = fitting(
        study,
        [
            earlier(0, 0.01, 0.9),
            earlier(1, 0.01, 0.9, state=TrialState.PRUNED, violation=2.0),
            earlier(2, 0.01, 0.9, state=TrialState.PRUNED),
            earlier(3, 0.01, 0.9, state=TrialState.FAILED),
            earlier(4, 0.01, 0.9, metrics={"accuracy": 0.9}),
            earlier(5, 7.0, 0.9),
        ],
    )
    assert [trial.number for trial in found.trials] == [0, 1]
    assert found.trials[1].constraint_violation == 2.0
    assert dict(found.skipped) == {
        "was stopped early, without a violated constraint": 1,
        "was failed": 1,
        "has no finite value of synaptic_ops, model_bytes": 1,
        "is not in the space: learning_rate must be 0.0001 to 0.1, log, got 7.0": 1,
    }


# ---- in and out of the store


def written(path: Path, results: list[ExternalTrial], **attributes: Any) -> str:
    """An Optuna study of those results that somebody else has made; its address."""
    url = f"sqlite:///{path}"
    theirs = optuna.create_study(
        storage=url, study_name="theirs", directions=["maximize", "minimize"]
    )
    theirs.set_metric_names(["accuracy", "synaptic_ops"])
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "partition": optuna.distributions.CategoricalDistribution(["2", "1+1"]),
        "timesteps": optuna.distributions.IntDistribution(1, 3),
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 10, log=True),
        "time_rule": optuna.distributions.CategoricalDistribution(["bptt", "saf-e"]),
    }
    for result in results:
        theirs.add_trial(
            optuna.trial.create_trial(
                values=[result.metrics["accuracy"], result.metrics["synaptic_ops"]],
                params=dict(result.params),
                distributions=space,
                user_attrs={"model_bytes": result.metrics["model_bytes"], **attributes},
            )
        )
    return url


def test_an_optuna_study_is_imported_once_and_is_on_no_front(run: Run, tmp_path: Path) -> None:
    url = written(tmp_path / "optuna.db", around(3e-2, 12))
    code, out, err = run("import", "rates.toml", url, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document == {
        "study": "rates",
        "source": f"{url}#theirs",
        "imported": 12,
        "changed": 0,
        "removed": 0,
        "known": 0,
        "skipped": {},
    }
    again = json.loads(run("import", "rates.toml", f"{url}#theirs", "--json")[1])
    assert (again["imported"], again["known"]) == (0, 12)
    with Store(f"sqlite:///{tmp_path / 'store.db'}", read_only=True) as store:
        assert len(store.prior_trials("rates")) == 12
        assert store.trials("rates") == []
        assert store.operating_points("rates", front_only=True) == []
        assert [event.kind for event in store.events("rates")] == ["import"]
    assert "has no front yet" in run("front", "rates")[1]
    assert json.loads(run("status", "rates", "--json")[1])["lessons"] == {f"{url}#theirs": 12}
    assert "given to the sampler" in run("status", "rates")[1]


def test_a_study_runs_from_what_was_imported(run: Run, tmp_path: Path) -> None:
    """The driver hands them to the sampler: the first trial is where the prior trials point."""
    url = written(tmp_path / "optuna.db", around(5e-2, 30))
    assert run("import", "rates.toml", url)[0] == 0
    code, _, err = run("run", "rates.toml", "--workers", "0", "--trials", "1")
    assert code == 0, err
    with Store(f"sqlite:///{tmp_path / 'store.db'}", read_only=True) as store:
        (trial,) = store.trials("rates")
        prior = store.prior_trials("rates")
        taught = make_sampler(study_from_toml(STUDY, "rates.toml"), prior=prior)
        assert trial.params == taught.ask(0)[0]
        assert trial.params != make_sampler(study_from_toml(STUDY, "rates.toml")).ask(0)[0]
        assert trial.state is TrialState.COMPLETE


def test_a_csv_file_may_have_optuna_s_columns_or_plain_ones(study: Study, tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text(
        "partition,exit_threshold_1,timesteps,learning_rate,time_rule,accuracy,synaptic_ops,"
        "model_bytes\n1+1,0.7,2,0.01,bptt,0.9,1e3,500\n2,,3,0.02,saf-e,0.8,2e3,500\n"
    )
    found = fitting(study, read_csv(plain, study))
    assert [trial.number for trial in found.trials] == [0, 1]
    assert [dict(trial.params) for trial in found.trials] == [
        {
            "partition": "1+1",
            "exit_threshold_1": 0.7,
            "timesteps": 2,
            "learning_rate": 0.01,
            "time_rule": "bptt",
        },
        {"partition": "2", "timesteps": 3, "learning_rate": 0.02, "time_rule": "saf-e"},
    ]
    url = written(tmp_path / "optuna.db", around(1e-2, 5))
    frame = optuna.load_study(study_name="theirs", storage=url).trials_dataframe()
    frame.to_csv(tmp_path / "frame.csv", index=False)
    framed = fitting(study, read_csv(tmp_path / "frame.csv", study))
    theirs = fitting(study, read_study(Address.of(url), study)[1])
    assert framed.trials == theirs.trials
    assert len(framed.trials) == 5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,b\n1,2\n", r"x\.csv: must have a column per parameter \(.*got columns a, b"),
        ("timesteps,accuracy,state\n1,0.5,DONE\n", r"line 2: state must be COMPLETE, PRUNED or"),
        (
            "timesteps,accuracy\n1,much\n",
            r"line 2: accuracy must be a number like .*'much'",
        ),
        ("timesteps;accuracy\n1;0,9\n", r"line 2: accuracy must be a number like 0.93, got '0,9'"),
        ("timesteps,accuracy\n1,0.5,7\n", r"line 2: must have 2 cells like the header, got more"),
        (
            "number,timesteps,accuracy\n4,1,0.5\n4,2,0.6\n",
            r"line 3: number 4 is that of line 2; give each trial a number of its own",
        ),
        ("number,timesteps,accuracy\n²,1,0.5\n", r"line 2: number must be an integer from 0 to"),
        ("number,timesteps,accuracy\n1e99,1,0.5\n", r"number must be an integer from 0 to"),
        (f"number,timesteps,accuracy\n{'9' * 5000},1,0.5\n", r"got '9{40}'\.\.\."),
        ("timesteps,params_timesteps,accuracy\n1,2,0.5\n", r"each column once, got timesteps"),
    ],
)
def test_a_csv_file_that_is_none_names_its_line(
    study: Study, tmp_path: Path, text: str, fault: str
) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(PriorTrialError, match=fault):
        read_csv(tmp_path / "x.csv", study)


def test_what_cannot_be_imported_changes_nothing(run: Run, tmp_path: Path) -> None:
    url = written(tmp_path / "optuna.db", [earlier(0, 7.0, 0.5)])
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    other = (tmp_path / "other.db").read_bytes()
    for source, fault in (
        (url, "no result fits rates.toml: 1 is not in the space: learning_rate must be"),
        (f"{url}#other", "no study 'other' (theirs)"),
        ("none.csv", "none.csv: must be a CSV file, got: "),
        ("x.txt", "x.txt: must be a CSV file, or an Optuna storage"),
        ("sqlite:///typo.db", "sqlite:///typo.db: no such file typo.db"),
        ("sqlite:///other.db", "sqlite:///other.db: must be an Optuna storage like"),
    ):
        code, out, err = run("import", "rates.toml", source)
        assert (code, out) == (2, ""), err
        assert fault in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "store.db").exists()
    assert not (tmp_path / "typo.db").exists()
    assert (tmp_path / "other.db").read_bytes() == other


def test_a_choice_of_numbers_is_read_as_pandas_writes_it(tmp_path: Path) -> None:
    study = study_from_toml(
        STUDY.replace("timesteps = { low = 1, high = 3 }", "timesteps = [1, 3]")
    )
    file = tmp_path / "x.csv"
    file.write_text(
        "number\tpartition\ttimesteps\tlearning_rate\ttime_rule\taccuracy\tsynaptic_ops\t"
        "model_bytes\n7.0\t2\t3.0\t0.01\tbptt\t0.9\t1e3\t5\n8\t2\t2.0\t0.01\tbptt\t0.9\t1e3\t5\n"
        "9\t2\t1\tinf\tbptt\t0.9\t1e3\t5\n"
    )
    found = fitting(study, read_csv(file, study))
    assert [(trial.number, trial.params["timesteps"]) for trial in found.trials] == [(7, 3)]
    assert list(found.skipped) == [
        "is not in the space: timesteps must be one of 1, 3, got '2.0'",
        "is not in the space: learning_rate must be 0.0001 to 0.1, log, got 'inf'",
    ]


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"accuracy": 98.6}, "accuracy is above 1: it must be a fraction, not a percentage"),
        ({"accuracy": -0.5}, "accuracy is below 0"),
        ({"synaptic_ops": -1000.0}, "synaptic_ops is below 0"),
        ({"synaptic_ops": float("inf")}, "has no finite value of synaptic_ops"),
    ],
)
def test_metrics_that_cannot_be_true_are_left_out(
    study: Study, metrics: dict[str, float], reason: str
) -> None:
    trial = earlier(0, 0.01, 0.9)
    changed = earlier(0, 0.01, 0.9, metrics={**trial.metrics, **metrics})
    found = fitting(study, [changed])
    assert (found.trials, found.skipped) == ((), {reason: 1})


def test_a_corrected_file_replaces_what_it_gave_before(run: Run, tmp_path: Path) -> None:
    """Its lines were known by their place, and stayed as they were."""

    def imported(*lines: str) -> dict[str, int]:
        head = "partition,timesteps,learning_rate,time_rule,accuracy,synaptic_ops,model_bytes"
        (tmp_path / "x.csv").write_text("\n".join([head, *lines]) + "\n")
        code, out, err = run("import", "rates.toml", "x.csv", "--json")
        assert code == 0, err
        document = json.loads(out)
        return {key: document[key] for key in ("imported", "changed", "removed", "known")}

    first, second = "2,1,0.01,bptt,0.9,1e3,5", "2,2,0.02,bptt,0.8,1e3,5"
    third = "2,3,0.03,bptt,0.7,1e3,5"
    assert imported(first, second, third) == {
        "imported": 3,
        "changed": 0,
        "removed": 0,
        "known": 0,
    }
    assert imported(first, second.replace("0.8", "0.85")) == {
        "imported": 0,
        "changed": 1,
        "removed": 1,
        "known": 1,
    }
    with Store(f"sqlite:///{tmp_path / 'store.db'}", read_only=True) as store:
        accuracies = [
            t.sampled.metrics["accuracy"] for t in store.prior_trials("rates") if t.sampled
        ]
    assert accuracies == [0.9, 0.85]


def test_a_relative_address_is_another_source_in_another_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "optuna.db", around(3e-2, 3))
        monkeypatch.chdir(tmp_path / name)
        code, out, err = run("import", "../rates.toml", "sqlite:///optuna.db", "--json")
        assert code == 0, err
        document = json.loads(out)
        assert document["imported"] == 3
        assert document["source"] == f"sqlite:///{tmp_path / name / 'optuna.db'}#theirs"


def test_what_they_minimise_is_not_maximised_here(study: Study, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    optuna.create_study(storage=url, study_name="x", directions=["minimize", "minimize"])
    with pytest.raises(
        PriorTrialError, match="must maximize accuracy, as this study does, got minimize"
    ):
        read_study(Address.of(url), study)


def test_a_password_is_neither_kept_nor_said() -> None:
    address = Address.of("postgresql://me:secret@host:5432/base#study")
    assert address.shown == "postgresql://me:***@host:5432/base"
    assert address.study == "study"


# ---- a study for Optuna


@pytest.fixture
def exported(run: Run, tmp_path: Path) -> tuple[optuna.Study, Path]:
    """A study of three trials, as Optuna loads it, and its store."""
    assert run("run", "rates.toml", "--workers", "0", "--trials", "3")[0] == 0
    code, out, err = run("export", "rates", "--optuna", "sqlite:///optuna.db", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "storage": "sqlite:///optuna.db",
        "study": "rates",
        "trials": 3,
        "left_out": 0,
    }
    return optuna.load_study(study_name="rates", storage="sqlite:///optuna.db"), tmp_path


@pytest.mark.filterwarnings("ignore:.*importance:UserWarning")
def test_a_study_for_optuna_has_all_that_optuna_and_its_dashboard_read(
    exported: tuple[optuna.Study, Path], study: Study
) -> None:
    theirs, folder = exported
    with Store(f"sqlite:///{folder / 'store.db'}", read_only=True) as store:
        ours = store.trials("rates")
        epochs = [len(store.measurements("rates", trial.number)) for trial in ours]
    assert theirs.metric_names == ["accuracy", "synaptic_ops"]
    assert [d.name for d in theirs.directions] == ["MAXIMIZE", "MINIMIZE"]
    for trial, twin, count in zip(ours, theirs.trials, epochs, strict=True):
        assert trial.sampled is not None
        metrics = trial.sampled.metrics
        assert twin.params == dict(trial.params)
        assert twin.values == [metrics["accuracy"], metrics["synaptic_ops"]]
        assert twin.user_attrs["model_bytes"] == metrics["model_bytes"]
        assert len(twin.user_attrs["curve"]) == count
        excess = study.constraints["model_bytes"].excess(metrics["model_bytes"])
        assert twin.constraints["model_bytes"] == pytest.approx(excess)
        # what Optuna Dashboard 0.21 reads
        assert twin.system_attrs["constraints"][0] == pytest.approx(excess)
        assert twin.distributions["learning_rate"] == optuna.distributions.FloatDistribution(
            1e-4, 1e-1, log=True
        )
        assert twin.datetime_complete is not None
    optuna.importance.get_param_importances(theirs, target=lambda t: t.values[0])
    theirs.enqueue_trial({"timesteps": 1})  # and goes on there
    theirs.ask()


def test_a_study_that_is_there_is_replaced_only_when_asked_and_only_if_it_is_ours(
    exported: tuple[optuna.Study, Path], run: Run
) -> None:
    _, folder = exported
    words = ("export", "rates", "--optuna", "sqlite:///optuna.db")
    code, _, err = run(*words)
    assert code == 2
    assert "has a study 'rates' already; replace it with --force" in err
    assert run(*words, "--force")[0] == 0
    assert run(*words[:-1], "sqlite:///optuna.db#twin")[0] == 0
    optuna.create_study(storage="sqlite:///optuna.db", study_name="foreign")
    code, _, err = run(*words[:-1], "sqlite:///optuna.db#foreign", "--force")
    assert code == 2
    assert "has a study 'foreign' that was not written here" in err
    assert "--pick: has an effect only with --out" in run(*words, "--pick", "knee")[2]
    assert "--out: must name the folder to write" in run("export", "rates")[2]
    before = (folder / "store.db").read_bytes()
    code, _, err = run(*words[:-1], f"sqlite:///{folder / 'store.db'}")
    assert code == 2
    assert "is a store of spikefront" in err
    assert (folder / "store.db").read_bytes() == before


def test_exported_trials_come_back_as_prior_trials(
    exported: tuple[optuna.Study, Path], study: Study
) -> None:
    _, folder = exported
    with Store(f"sqlite:///{folder / 'store.db'}", read_only=True) as store:
        ours = store.trials("rates")
    back = fitting(study, read_study(Address.of(f"sqlite:///{folder / 'optuna.db'}"), study)[1])
    assert back.skipped == {}
    assert [trial.params for trial in back.trials] == [trial.params for trial in ours]
    for prior, trial in zip(back.trials, ours, strict=True):
        assert prior.sampled is not None
        assert trial.sampled is not None
        same = pytest.approx(dict(trial.sampled.metrics), rel=0, abs=0, nan_ok=True)
        assert prior.sampled.metrics == same


def test_one_objective_takes_its_curve_as_intermediate_values(run: Run, tmp_path: Path) -> None:
    text = STUDY.replace('["accuracy", "synaptic_ops"]', '["accuracy"]').replace("rates", "one")
    (tmp_path / "one.toml").write_text(text)
    assert run("run", "one.toml", "--workers", "0", "--trials", "1")[0] == 0
    assert run("export", "one", "--optuna", "sqlite:///optuna.db")[0] == 0
    (twin,) = optuna.load_study(study_name="one", storage="sqlite:///optuna.db").trials
    curve = twin.user_attrs["curve"]
    assert twin.intermediate_values == {at["epoch"]: at["accuracy"] for at in curve}
