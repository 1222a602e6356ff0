"""Study files: read whole, every fault at once, and said anew by overrides."""

import argparse
import tomllib
from pathlib import Path

import pytest

from search.commands.output import Output
from search.commands.run import read_study
from search.study.space import RandomSuggest
from search.study.study import Bound, Budget, SearchSettings, Study, StudyError, load_study
from search.study.study import study_from_toml as read
from search.study.tables import BUDGET_SETTINGS, SEARCH_SETTINGS
from snn.settings.config import SETTINGS
from snn.settings.measurement import METRICS
from snn.settings.setting import USUAL

GOOD = """\
# Question: what does the front of accuracy against operations
#   look like on 8x8 digits?

# (not part of the question)
name = "digits"
objectives = ["accuracy", "synaptic_ops", "training_memory_bytes"]

[constraints]
model_bytes = { max = 400_000 }
accuracy = { min = 0.5 }

[budget]
trials = 24
gpus_per_trial = 0

[run]
dataset = "digits"
backbone = "resnet7"
width = 16
epochs = 10

[space]
partition = { max_blocks = 3 }
exit_threshold = { low = 0.5, high = 0.99 }
dropout = { low = 0.0, high = 0.3, step = 0.05 }
timesteps = { low = 2, high = 8 }
target_sparsity = { low = 0.5, high = 0.98 }
time_rule = ["bptt"]
learning_rate = { low = 1e-3, high = 3e-2, log = true }

[search]
sampler = "nsga2"
seed = 7
reference = { synaptic_ops = 1e6 }
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(StudyError) as caught:
        read(text, "studies/x.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.faults)
    assert all(line.startswith("studies/x.toml: ") for line in lines)
    return [line.removeprefix("studies/x.toml: ") for line in lines]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_study_file_says_everything_about_a_study(tmp_path: Path) -> None:
    path = tmp_path / "digits.toml"
    path.write_text(GOOD)
    study = load_study(path)
    assert study.name == "digits"
    assert study.question == (
        "Question: what does the front of accuracy against operations\nlook like on 8x8 digits?"
    )
    assert study.objectives == ("accuracy", "synaptic_ops", "training_memory_bytes")
    assert study.constraints == {"model_bytes": Bound(max=400_000), "accuracy": Bound(min=0.5)}
    assert study.budget == Budget(trials=24)
    assert study.run == {"dataset": "digits", "backbone": "resnet7", "width": 16, "epochs": 10}
    assert "exit_threshold_2" in study.space.param_names()
    assert study.search == SearchSettings(
        sampler="nsga2", seed=7, reference={"synaptic_ops": 1_000_000.0}
    )
    assert study.text == GOOD


def test_a_small_study_takes_the_defaults() -> None:
    study = read('name = "s"\nobjectives = ["accuracy"]\nspace.width = [8, 16]\n')
    assert study.question == ""
    assert study.budget == Budget(
        trials=None, hours=None, epochs=None, workers=2, cpus_per_trial=1, gpus_per_trial=0
    )
    assert study.search == SearchSettings(sampler="tpe", stopping="none", seed=0)
    assert study.run == {}
    assert study.constraints == {}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("high = 0.3,", "high = 1.5,", "space.dropout.high must be below 1, got 1.5"),
        ("max_blocks", "max_blokcs", "space.partition.max_blokcs is not a key of this axis; did"),
        ("[budget]", "[bugdet]", "bugdet is not a known key; did you mean 'budget'?"),
        ("trials =", "trails =", "budget.trails is not a known key; did you mean 'trials'?"),
        ("trials = 24", "trials = 0", "budget.trials must be at least 1, got 0"),
        ("trials = 24", "hours = 0", "budget.hours must be above 0, got 0"),
        ("trials = 24", "workers = -1", "budget.workers must be at least 0, got -1"),
        (
            "gpus_per_trial = 0",
            "gpus_per_trial = '1'",
            "budget.gpus_per_trial must be a number, got",
        ),
        (
            "epochs = 10",
            "epoch = 10",
            "run.epoch is not a setting of a run; did you mean 'epochs'?",
        ),
        ("epochs = 10", "leak = 1.2", "run.leak must be at most 1, got 1.2"),
        ("'digits'", "'digts'", "run.dataset must be one of digits, mnist"),
        ("'resnet7'", "'resnet8'", "run.backbone must be one of mlp, mlp2"),
        (
            "'nsga2'",
            "'nsga4'",
            "search.sampler must be one of tpe, nsga2, nsga3, gp, qmc, random, a",
        ),
        ("seed = 7", "seed = -1", "search.seed must be at least 0, got -1"),
        (
            "seed = 7",
            "stopping = 'moahsa'",
            "search.stopping must be one of none, moasha, got 'moahsa'",
        ),
        (
            "seed = 7",
            "reuse_block = true",
            "search.reuse_block is not a known key; did you mean 'reuse_blocks'?",
        ),
        ("seed = 7", "reuse_blocks = 1", "search.reuse_blocks must be true or false, got 1"),
        (
            "seed = 7",
            "block_cache_mb = 0",
            "search.block_cache_mb must be at least 1, got 0",
        ),
        (
            "{ synaptic_ops = 1e6 }",
            "{ macs = 1 }",
            "search.reference.macs must be an objective of",
        ),
        (
            "{ synaptic_ops = 1e6 }",
            "{ synaptic_ops = 0 }",
            "search.reference.synaptic_ops must be above 0, got 0",
        ),
        ("{ synaptic_ops = 1e6 }", "3", "search.reference must be a table, got 3"),
        (
            "model_bytes =",
            "model_byte =",
            "constraints.model_byte must name a metric, got 'model_by",
        ),
        ("{ max = 400_000 }", "{}", "constraints.model_bytes must have min or max, got neither"),
        (
            "accuracy = { min = 0.5 }",
            "accuracy = { min = 50 }",
            "constraints.accuracy.min must be a fraction from 0 to 1, got 50: 50 % is 0.5",
        ),
        ("{ max = 400_000 }", "4", "constraints.model_bytes must be like { max = 400_000 }, got 4"),
        (
            "{ max = 400_000 }",
            "{ min = 2, max = 1 }",
            "constraints.model_bytes.min must be at most max (1), got 2",
        ),
        (
            "{ max = 400_000 }",
            "{ max = nan }",
            "constraints.model_bytes.max must be finite, got nan",
        ),
        (
            '"synaptic_ops",',
            '"synaptic_opps",',
            "objectives must name a metric, got 'synaptic_opps'",
        ),
        (
            '"synaptic_ops",',
            '"accuracy",',
            "objectives must name each metric once, got 'accuracy' a",
        ),
        (
            '["accuracy", "synaptic_ops", "training_memory_bytes"]',
            "[]",
            "objectives must name 1 to 5 metrics, got 0; known: accuracy",
        ),
        (
            'name = "digits"',
            'name = "a/b"',
            "name must be 1 to 100 letters, digits, '.', '_' or '-'",
        ),
        ('name = "digits"', 'name = ""', "name must be 1 to 100 letters"),
        ('name = "digits"', "", "name must be given: the name of the study in the store"),
        ('name = "digits"', "name = 3", "name must be 1 to 100 letters"),
    ],
)
def test_what_is_wrong_is_one_line_that_can_be_acted_on(old: str, new: str, fault: str) -> None:
    old, new = old.replace("'", '"'), new.replace("'", '"')
    if ("synaptic_ops" in old and old.startswith('"')) or old.startswith("["):
        # The reference must not stay behind as a fault of its own.
        text = changed(old, new).replace("reference = { synaptic_ops = 1e6 }", "")
    else:
        text = changed(old, new)
    faults = faults_of(text)
    assert len(faults) == (2 if "blokcs" in new else 1)
    assert faults[0].startswith(fault.replace('"', "'"))


def test_every_fault_of_a_file_is_named_at_once() -> None:
    text = changed("high = 0.3,", "high = 1.5,").replace("trials", "trails")
    text = text.replace('"nsga2"', '"nsga"').replace('"accuracy", ', '"acc", ')
    assert [line.split(" ")[0] for line in faults_of(text)] == [
        "objectives",
        "budget.trails",
        "search.sampler",
        "space.dropout.high",
    ]


def test_a_name_of_three_hundred_characters_is_refused_without_being_repeated() -> None:
    (fault,) = faults_of(changed('name = "digits"', f'name = "{"x" * 300}"'))
    assert "(300)" in fault
    assert len(fault) < 200


def test_a_fixed_sparsity_beyond_all_connections_is_refused() -> None:
    text = changed("target_sparsity = { low = 0.5, high = 0.98 }", "")
    text = text.replace("epochs = 10", "target_sparsity = 1.2")
    assert faults_of(text) == ["run.target_sparsity must be below 1, got 1.2"]


def test_more_than_five_objectives_are_refused() -> None:
    names = '["accuracy", "macs", "synaptic_ops", "parameters", "model_bytes", "connectivity"]'
    text = changed('["accuracy", "synaptic_ops", "training_memory_bytes"]', names)
    assert faults_of(text)[0].startswith("objectives must name 1 to 5 metrics, got 6")


def test_a_missing_or_empty_space_is_refused() -> None:
    head = 'name = "s"\nobjectives = ["accuracy"]\n'
    for text in (head, head + "[space]\n", head + "space = 3\n"):
        (fault,) = faults_of(text)
        assert fault.startswith("space must be a table with at least one axis")


@pytest.mark.parametrize("table", ["constraints", "budget", "run", "search"])
def test_a_table_that_is_none_is_refused(table: str) -> None:
    text = f'name = "s"\nobjectives = ["accuracy"]\n{table} = 3\nspace.width = [8]\n'
    assert faults_of(text) == [f"{table} must be a table, got 3"]


def test_a_partition_of_more_units_than_the_backbone_has_is_refused() -> None:
    text = 'name = "s"\nobjectives = ["accuracy"]\n[run]\npartition = "2+2"\n[space]\nwidth = [8]\n'
    assert faults_of(text) == [
        "run.partition must cover at most the 3 units of resnet7, got '2+2' with 4"
    ]


def test_what_others_call_a_key_is_a_hint_of_each_table() -> None:
    known = {*SETTINGS, *METRICS, *BUDGET_SETTINGS, *SEARCH_SETTINGS}
    assert set(USUAL.values()) <= known
    assert not set(USUAL) & known
    text = 'name = "s"\nobjectives = ["acc"]\n[constraints]\nsize = { max = 9 }\n'
    text += "[budget]\nn_jobs = 2\n[run]\nlr = 0.1\n[space]\nT = [4]\n"
    hints = [line.partition("did you mean ")[2] for line in faults_of(text)]
    found = ["accuracy", "model_bytes", "workers", "learning_rate", "timesteps"]
    assert hints == [f"{name!r}?" for name in found]


def test_a_study_in_which_nothing_can_run_is_refused_before_it_starts() -> None:
    text = 'name = "s"\nobjectives = ["accuracy"]\n[run]\nblock_classes = "hard"\n'
    text += 'space_rule = "end-to-end"\npartition = "2+1"\n[space]\nwidth = [8, 16]\n'
    (fault,) = faults_of(text)
    assert fault.startswith("space has no valid configuration: run.block_classes 'hard' needs")


def test_what_is_no_toml_is_refused_with_line_and_column() -> None:
    (fault,) = faults_of('name = "s"\nobjectives = [accuracy]\n')
    assert fault.startswith("is not TOML: ")
    assert "line 2, column 15" in fault


def test_a_directory_a_missing_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "digits.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match=r"must be a study file, got a directory$"):
        load_study(tmp_path)
    with pytest.raises(StudyError, match=r"digts\.toml: no such file; did you mean 'digits\.toml'"):
        load_study(tmp_path / "digts.toml")
    with pytest.raises(StudyError, match=r"must be text in UTF-8, got byte 0xff at position 0$"):
        load_study(tmp_path / "digits.toml")


def test_overrides_change_the_study_and_its_text_says_so() -> None:
    study = read(GOOD)
    other = study.with_overrides(trials=50, workers=0, sets={"timesteps": 4, "width": 32})
    assert other.budget == Budget(trials=50, workers=0)
    assert other.run["width"] == 32
    assert other.space.sample(RandomSuggest())["timesteps"] == 4
    assert other.question == study.question
    again = read(other.text)
    assert again == other
    assert (again.budget, again.question) == (other.budget, study.question)


def test_an_override_may_come_as_text_from_a_command_line() -> None:
    sets: dict[str, object] = {
        "timesteps": "4",
        "dropout": "0.1",
        "partition": "2+1",
        "optimizer": "sgd",
    }
    other = read(GOOD).with_overrides(sets=sets)
    assert other.run["optimizer"] == "sgd"
    params = other.space.sample(RandomSuggest())
    assert (params["timesteps"], params["dropout"], params["partition"]) == (4, 0.1, "2+1")


def test_an_override_leaves_out_initial_points_that_contradict_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = "{ timesteps = 4 }, { timesteps = 2, dropout = 0.1 }, { dropout = 0.2 }"
    path = tmp_path / "study.toml"
    path.write_text(f"{GOOD}\ninitial_points = [{points}]\n")
    given = argparse.Namespace(study_file=path, trials=5, hours=None, sets=[("timesteps", "2")])
    study = read_study(given, Output(as_json=True))
    assert study.search.initial_points == ({"timesteps": 2, "dropout": 0.1}, {"dropout": 0.2})
    assert capsys.readouterr().err == (
        "spikefront: --set: 1 of 3 initial points of the study do not go with timesteps and are "
        "not tried\n"
    )
    given.sets = []
    assert len(read_study(given, Output(as_json=True)).search.initial_points) == 3
    given.sets = [("timesteps", "2"), ("dropout", "9")]  # no point can be at fault
    with pytest.raises(StudyError, match=r"space.dropout must be [^\n]*, got 9$"):
        read_study(given, Output(as_json=True))
    assert capsys.readouterr().err == ""


def test_without_overrides_the_text_stays_as_it_was_written() -> None:
    study = read(GOOD)
    assert study.with_overrides() is study
    assert study.with_overrides(trials=24, sets={"width": 16}) is study


def test_an_override_of_the_budget_leaves_the_question_and_what_is_drawn_alone() -> None:
    study = read(GOOD)
    more = study.with_overrides(trials=100, hours=2.5)
    assert more.question_fingerprint == study.question_fingerprint
    assert more.differences(study) == []
    assert more.space == study.space
    assert more.space.order == study.space.order


def test_an_override_of_what_is_no_setting_names_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"^--set: timestep is not a setting of a run; did you me"):
        read(GOOD).with_overrides(sets={"timestep": 4})


def test_an_override_that_is_not_allowed_is_refused_like_the_file() -> None:
    with pytest.raises(StudyError, match=r"^x.toml: space.timesteps must be at least 1, got 0$"):
        read(GOOD, "x.toml").with_overrides(sets={"timesteps": 0})
    with pytest.raises(StudyError, match=r"run.width must be an integer, got 'wide'$"):
        read(GOOD).with_overrides(sets={"width": "wide"})
    with pytest.raises(StudyError, match=r"budget.trials must be at least 1, got 0$"):
        read(GOOD).with_overrides(trials=0)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "digits"', 'name = "digits2"', "name"),
        ('"synaptic_ops", ', '"synaptic_ops", "macs", ', "objectives"),
        ("max = 400_000", "max = 400_001", "constraints.model_bytes"),
        ("accuracy = { min = 0.5 }", "", "constraints.accuracy"),
        ("width = 16", "width = 17", "run.width"),
        ("epochs = 10", "", "run.epochs"),
        ("step = 0.05", "step = 0.1", "space.dropout"),
        ('time_rule = ["bptt"]', "", "space.time_rule"),
        ('"nsga2"', '"tpe"', "search.sampler"),
        ("seed = 7", "seed = 8", "search.seed"),
        ("1e6", "2e6", "search.reference.synaptic_ops"),
    ],
)
def test_another_question_has_another_fingerprint_and_the_difference_a_name(
    old: str, new: str, key: str
) -> None:
    ours, theirs = read(GOOD), read(changed(old, new))
    assert ours.question_fingerprint != theirs.question_fingerprint
    assert ours.differences(theirs) == theirs.differences(ours) == [key]


def test_how_a_file_is_written_is_not_part_of_the_question() -> None:
    document = tomllib.loads(GOOD)
    reordered = ["# something else"]
    reordered += ['name = "digits"', f"objectives = {document['objectives']}"]
    for table in ("search", "space", "run", "budget", "constraints"):
        body = GOOD.split(f"[{table}]\n")[1].split("\n[")[0].splitlines()
        reordered += [f"[{table}]", *reversed(body)]
    ours, theirs = read(GOOD), read("\n".join(reordered))
    assert ours.question_fingerprint == theirs.question_fingerprint
    assert [s.space.sample(RandomSuggest(5)) for s in (ours, theirs)] == [
        ours.space.sample(RandomSuggest(5))
    ] * 2


def test_the_budget_is_not_part_of_the_question() -> None:
    ours, theirs = read(GOOD), read(changed("trials = 24", "epochs = 3\nworkers = 9"))
    assert isinstance(theirs, Study)
    assert ours.question_fingerprint == theirs.question_fingerprint
    assert ours.differences(theirs) == []


def test_blocks_are_reused_unless_the_study_says_otherwise_which_is_no_other_question() -> None:
    study = read(GOOD)
    assert (study.search.reuse_blocks, study.search.block_cache_mb) == (True, 2_000)
    without = read(changed("seed = 7", "seed = 7\nreuse_blocks = false\nblock_cache_mb = 5"))
    assert (without.search.reuse_blocks, without.search.block_cache_mb) == (False, 5)
    assert without.question_fingerprint == study.question_fingerprint


def test_how_early_stopping_judges_is_part_of_the_question_where_it_is_not_the_usual() -> None:
    """Studies of before there were these settings ask the same question as ever."""
    study = read(GOOD)
    assert study.question_fingerprint == "82eeb559644631fd"
    stopping = read(changed("seed = 7", 'seed = 7\nstopping = "moasha"'))
    usual = "reduction_factor = 3.0\ngrace_period = 0.1"
    said = read(changed("seed = 7", f'seed = 7\nstopping = "moasha"\n{usual}'))
    assert said.question_fingerprint == stopping.question_fingerprint
    assert study.differences(stopping) == ["search.stopping"]
    other = read(changed("seed = 7", 'seed = 7\nstopping = "moasha"\nreduction_factor = 4'))
    assert other.differences(stopping) == ["search.reduction_factor"]


def test_names_of_earlier_versions_ask_the_same_question() -> None:
    earlier = 'stopping = "moasha"\nstopping_reduction = 4\nstopping_smallest = 0.2\n'
    earlier += "points = [{ timesteps = 4 }]\nfamily = true"
    now = 'stopping = "moasha"\nreduction_factor = 4\ngrace_period = 0.2\n'
    now += "initial_points = [{ timesteps = 4 }]\nshare_operating_points = true"
    first, second = (read(changed("seed = 7", f"seed = 7\n{names}")) for names in (earlier, now))
    assert first.differences(second) == []
    assert first.search == second.search
    # the fingerprint that the version with the earlier names stored
    assert first.question_fingerprint == second.question_fingerprint == "02d0a42c8cd4c6c7"
    message = "search.family is the earlier name of share_operating_points, which is given too"
    with pytest.raises(StudyError, match=message):
        read(changed("seed = 7", "family = true\nshare_operating_points = true"))


@pytest.mark.parametrize("number", ["9" * 5_000, "[" * 5_000 + "]" * 5_000], ids=["long", "deep"])
def test_numbers_and_tables_that_cannot_be_read_are_a_fault_of_the_file(number: str) -> None:
    faults = faults_of(changed("trials = 24", f"trials = {number}"))
    assert faults == ["has a number with too many digits, or tables nested too deeply"]
