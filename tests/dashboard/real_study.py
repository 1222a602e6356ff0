"""A small real study, trained in seconds: what pages that run networks are tried with."""

from pathlib import Path

from search.runners.run import run_study
from search.store.store import Store
from search.study.study import study_from_toml

TOML = """# Which small networks read 8x8 digits with few operations?
name = "{name}"
objectives = ["accuracy", "model_bytes"]

[budget]
trials = {trials}
workers = 0

[run]
dataset = "digits"
backbone = "resnet5"
batch_size = 32
epochs = 3
loss = "each-step"

[space]
width = {{ low = 4, high = 8 }}
partition = ["1+1"]
exit_threshold = {{ low = 0.5, high = 0.8 }}
timesteps = {{ low = 2, high = 3 }}
learning_rate = {{ low = 1e-2, high = 2e-2, log = true }}

[search]
sampler = "{sampler}"
"""


def study_text(name: str = "real", *, trials: int = 2, sampler: str = "random") -> str:
    """A study file."""
    return TOML.format(name=name, trials=trials, sampler=sampler)


def run(folder: Path, name: str = "real", *, trials: int = 2, sampler: str = "random") -> str:
    """Run the study in this process; the URL of its store, which lies in `folder`."""
    url = f"sqlite:///{folder / 'real.db'}"
    study = study_from_toml(study_text(name, trials=trials, sampler=sampler))
    with Store(url) as store:
        run_study(study, store=store, artifacts=folder / "artifacts", data_dir=folder, workers=0)
    return url
