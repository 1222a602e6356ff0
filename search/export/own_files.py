"""Export of an own training: its files, parameters and metrics as a folder."""

import datetime
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from search.export.export import checked_weights, export_point, weights_problem
from search.export.folder import (
    CARD,
    CONFIG,
    FORMAT,
    METRICS_FILE,
    OWN_FILES,
    ExportError,
    check_target,
    new_folder,
)
from search.study.own_metrics import declared
from search.text.json_text import json_text
from search.text.provenance import machine, project_commit, project_version
from search.text.units import three_digits
from search.trial.confirmation import confirmed_document
from search.trial.function_config import FunctionConfig

if TYPE_CHECKING:
    from search.store.store import Store, StoredPoint
    from search.study.study import Study


@dataclass(frozen=True, kw_only=True)
class ExportedFiles:
    """The result of an export of an own training."""

    path: Path
    files: tuple[str, ...]  # of the training, below `files/`
    document: dict[str, Any]  # of metrics.json


def export_files(
    store: "Store", study: "Study", point: "StoredPoint", out: Path, *, force: bool = False
) -> ExportedFiles:
    """Write the files of an own training with its parameters and metrics to the folder `out`.

    Raises ExportError or StoreError.
    """
    check_target(out, force=force)
    trial = store.trial(study.name, point.trial)
    config = trial.config
    if not isinstance(config, FunctionConfig):
        raise ExportError(f"trial {trial.number} of {study.name} has no parameters")
    if trial.artifact is not None and (problem := weights_problem(trial)):
        raise ExportError(problem.replace("weights", "files"))
    confirmed = store.confirmed(study.name).get(point.id)
    document = {
        "spikefront_export": FORMAT,
        "train": config.train,
        "study": study.name,
        "trial": trial.number,
        "point": point.point.label or None,
        "validation": {
            "metrics": {n: v for n, v in point.point.metrics.items() if v == v},
        },
        "metrics": {name: declared(study.metrics[name]) for name in study.reported},
        "confirmed": confirmed_document(confirmed),
        "code": config.code,
        "seed": config.seed,
        "run_fingerprint": config.fingerprint,
        "spikefront": project_version(),
        "machine": machine(),
        "git_commit": project_commit(),
        "exported_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    names: list[str] = []
    with new_folder(out, force=force) as folder:
        if trial.artifact is not None:
            with checked_weights(trial, trial.artifact) as archive:
                names = _unpacked(archive, folder / OWN_FILES)
        values = {"train": config.train, "seed": config.seed, **_without_none(config.params)}
        title = f"# trial {trial.number} of study {study.name}; a study may use it in [run]\n"
        (folder / CONFIG).write_text(title + tomli_w.dumps(values), encoding="utf-8")
        (folder / METRICS_FILE).write_text(json_text(document), encoding="utf-8")
        (folder / CARD).write_text(_card(study, document, names), encoding="utf-8")
    return ExportedFiles(path=out, files=tuple(names), document=document)


def export_any_point(
    store: "Store", study: str, point: "StoredPoint", out: Path, *, data_dir: Path
) -> None:
    """Write a point of any study as the folder that `spikefront export` writes."""
    asked = store.stored_study(study).study()
    if asked.train is not None:
        export_files(store, asked, point, out)
    else:
        export_point(store, study, point, out, data_dir=data_dir)


def _unpacked(archive: Path, target: Path) -> list[str]:
    """Write the files of an archive below a folder; returns their names."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(target)
        return packed.namelist()


def _without_none(params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _card(study: "Study", document: dict[str, Any], names: list[str]) -> str:
    """Return the README of the folder."""
    figures = document["validation"]["metrics"]
    rows = [
        f"| `{name}` | {three_digits(figures[name])} {study.metrics[name].unit} "
        f"| {study.metrics[name].meaning} |"
        for name in study.reported
        if name in figures
    ]
    lines = [
        f"# Trial {document['trial']} of {study.name}",
        *([study.question] if study.question else []),
        f"Trained by the function `{document['train']}` with seed {document['seed']}; parameters "
        f"are in `{CONFIG}`.",
        "\n".join(["| metric | validation | meaning |", "| --- | --- | --- |", *rows]),
        f"Files of the training are in `{OWN_FILES}/`: {', '.join(f'`{n}`' for n in names)}."
        if names
        else "The training kept no files.",
    ]
    return "\n\n".join(lines) + "\n"


__all__ = ["ExportedFiles", "export_any_point", "export_files"]
