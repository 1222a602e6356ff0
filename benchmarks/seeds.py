"""Every published claim beside ours, and the page that says so.

Trains what the claims need, each run once: with `--resume FILE` every finished run
is a line of that file, and the same command goes on behind it. A line counts for
the engine, torch, machine, device and threads that made it. Networks are judged
on test images, once, after their training. `--markdown FILE` writes the page of
results, with the figures of further benchmarks from their saved `--json`
documents (`--with`).
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import CLAIMS, PUBLISHED
from benchmarks.claims.claim import Claim, Done, Place, Results, Run, Scale
from benchmarks.finished import Finished
from benchmarks.report import Report, Watch, arguments, commit, data_dir, machine
from benchmarks.results import page, show
from search.worker.engine import environment, pick_device
from snn.data import dataset
from snn.training.environment import engine
from snn.training.train import DivergedError

DOCUMENT_KEYS = {"benchmark", "commit", "machine", "foreign_load", "setting", "against", "figures"}


class Runner:
    """Runs each run once; with a file, once over interrupted benchmarks.

    A run that was interrupted is continued from what stands beside the file.
    """

    def __init__(self, place: Place, report: Report, path: Path | None) -> None:
        self._place, self._report, self._commit = place, report, commit()
        stamp = {
            "engine": engine(),
            "torch": torch.__version__,
            "machine": machine(),
            "place": f"{place.device}, {place.threads} threads",
        }
        self._finished = Finished(path, stamp)
        self._begun = None if path is None else path.with_name(f"{path.name}.begun")

    def __call__(self, run: Run) -> Done:
        """Run, or remember. Raises DivergedError, DataError."""
        known = self._finished.get(run.fingerprint)
        if known is None:
            watch = Watch()
            folder = None if self._begun is None else self._begun / run.fingerprint
            values = dict(run.measure(run.config, replace(self._place, folder=folder)))
            known = {
                "values": values,
                "seconds": watch.seconds(),
                "foreign_load": watch.foreign_load(),
                "commit": self._commit,
            }
            self._finished.put(run.fingerprint, known)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        done = Done(name=run.name, seed=run.config.seed, **known)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in done.values.items())
        self._report.line(f"  {done.name}, seed {done.seed}, {done.seconds:.0f} s: {shown}")
        return done


def run_claims(
    claims: Sequence[Claim], runner: Runner, report: Report
) -> list[tuple[Claim, Results]]:
    """Everything that can be run; a claim with a run that diverged is left out, and said so."""
    finished = []
    for claim in claims:
        report.line(f"{claim.name}: {len(claim.runs)} runs")
        try:
            results = Results([runner(run) for run in claim.runs])
        except DivergedError as error:
            report.line(f"  {claim.name} is left out: {error}")
            continue
        finished.append((claim, results))
        for row in claim.rows(results):
            said = "" if row.published is None else f", published {row.published.value:.4g}"
            report.line(f"  {row.what}: {show(row.mean, row.kind)}{said}")
            for figure in row.figures():
                report.add(figure)
    return finished


def at_hand(claim: Claim, missing: Mapping[str, str | None], report: Report) -> Claim:
    """The claim without runs on data sets that are not there, which are told."""
    gone = {run.config.dataset for run in claim.runs if missing[run.config.dataset] is not None}
    for dataset_name in sorted(gone):
        report.line(f"{claim.name}: runs on {dataset_name} are left out: {missing[dataset_name]}")
    return replace(claim, runs=tuple(run for run in claim.runs if run.config.dataset not in gone))


def read_document(path: Path) -> Mapping[str, Any]:
    """The saved document of a benchmark. Raises ValueError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: {error}; give what a benchmark printed with --json") from error
    missing = DOCUMENT_KEYS - (document.keys() if isinstance(document, dict) else set())
    if missing:
        raise ValueError(
            f"{path}: has no {', '.join(sorted(missing))}; "
            "give what a benchmark printed with --json"
        )
    result: Mapping[str, Any] = document
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and write the page. 1 where a run diverged, 2 where the input was wrong."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=CLAIMS, metavar="CLAIM", help=", ".join(CLAIMS)
    )
    parser.add_argument("--dataset", choices=("mnist", "cifar10"), default="mnist")
    parser.add_argument(
        "--published", action="store_true",
        help="the settings of the papers, for a GPU; of the claims that have them",
    )  # fmt: skip
    parser.add_argument(
        "--images", default="", metavar="TEXT",
        help="what the images are where they are not the original files, like 'JPEG q75'",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run (default 3)")
    parser.add_argument("--epochs", type=int, help="in place of every run's own")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default 2)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or auto")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished runs there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page of results")
    parser.add_argument(
        "--with", nargs="+", type=Path, default=[], dest="others", metavar="JSON",
        help="saved documents of further benchmarks, for the page",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if options.markdown and options.quick:
        parser.error("--markdown needs runs at full size: leave out --quick")
    known = PUBLISHED[options.dataset] if options.published else tuple(CLAIMS)
    names = tuple(options.only or known)
    if others := [name for name in names if name not in known]:
        parser.error(
            f"--published: {', '.join(others)} has no published form on {options.dataset}; "
            f"these have one: {', '.join(known)}"
        )
    missing = dataset.available(data_dir())
    if fault := missing[options.dataset]:
        parser.error(fault)
    try:
        others = [read_document(path) for path in options.others]
    except ValueError as error:
        parser.error(str(error))
    scale = Scale(
        dataset=options.dataset,
        seeds=options.seeds,
        quick=options.quick,
        epochs=options.epochs,
        published=options.published,
    )
    place = Place(data=data_dir(), device=pick_device(options.device), threads=options.threads)
    report = Report(
        "seeds",
        setting={
            "dataset": scale.dataset,
            "quick": scale.quick,
            "published": scale.published,
            "images": options.images,
            "seeds": scale.seeds,
            "epochs": "of each run" if scale.epochs is None else scale.epochs,
            "device": environment(options.device)["device"],
            "threads": place.threads,
            "claims": list(names),
            "left_out": [name for name in CLAIMS if name not in names],
        },
    )
    claims = [at_hand(CLAIMS[name](scale), missing, report) for name in names]
    finished = run_claims(claims, Runner(place, report, options.resume), report)
    if finished:
        report.show(as_json=options.json)
    if len(finished) < len(claims):
        print("a run diverged; the page is not written", file=sys.stderr)
        return 1
    if options.markdown:
        text = page(finished, head=report.document(), path=str(options.markdown), others=others)
        options.markdown.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
