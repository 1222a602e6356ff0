"""Which search finds a front with the fewest trained epochs, replayed on recorded trainings.

`--record digits` makes a record anew (resumable, about an hour on one core);
without it every strategy is replayed on the records that lie here, and on computed problems
(`--problems units tuning`), which no search exhausts.
"""

import argparse
import math
import statistics
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.finished import Finished
from benchmarks.report import Figure, Report, arguments, commit, data_dir
from benchmarks.search.comparison import OURS, REFERENCES, Result, budget_of, compare, digest
from benchmarks.search.curves import best_of, fraction_to_reach
from benchmarks.search.grid import STUDIES, Grid, study_of
from benchmarks.search.page import MADE_BY, page, pictures
from benchmarks.search.problem import Problem
from benchmarks.search.record import Record
from benchmarks.search.recorder import images_of, record_study, stamp
from benchmarks.search.reference_curves import reference_curves
from benchmarks.search.strategies import GAIN, GROW, STRATEGIES, can_grow
from benchmarks.search.synthetic import SYNTHETIC, Synthetic

TRAININGS = 30  # of mean length: the budget of a strategy
SEEDS = 20
QUICK_TRAININGS, QUICK_SEEDS = 8, 2
AIM = 0.25
FAMILY_AIM = 0.5  # where peers get all operating points for nothing
# packages that may be missing, by the beginning of the names of their strategies
_MAY_MISS = {"syne-tune": "syne-tune", "ax": "ax-platform", "smac": "smac"}


def main() -> int:
    """Run the benchmark: record trainings, or replay them and print."""
    options = _options()
    if options.record:
        for name in options.problems:
            _record(name, options)
        return 0
    report = Report("search", against=_versions(), setting=_setting(options))
    finished = Finished(options.resume, {"commit": commit()})
    results = []
    strategies = _strategies(options, report)
    for name in options.problems:
        problem, path = _problem(name, options)
        results.append(
            compare(
                name,
                problem,
                digest=digest(path),
                strategies=[n for n in strategies if n != GROW or can_grow(problem.study)],
                seeds=range(options.first, options.first + options.seeds),
                slow_seeds=options.slow_seeds,
                budget=budget_of(problem, options.trainings),
                reference=options.reference,
                finished=finished,
                say=report.line,
            )
        )
    _figures(report, results)
    _lead(report, results)
    if options.markdown:
        options.markdown.write_text(page(report.document(), results), encoding="utf-8")
    if options.curves:
        made_by = f"{MADE_BY}, commit {commit()}"
        options.curves.write_text(reference_curves(results, made_by), encoding="utf-8")
    if options.images:
        options.images.mkdir(parents=True, exist_ok=True)
        for name, text in pictures(results).items():
            (options.images / name).write_text(text, encoding="utf-8")
    report.show(as_json=options.json)
    return 0


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--record", action="store_true", help="train the grids and write records")
    parser.add_argument(
        "--problems",
        "--records",
        nargs="+",
        choices=[*STUDIES, *SYNTHETIC],
        default=list(STUDIES),
        help="records of trainings, and computed problems",
    )
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="of the records")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--slow-seeds", type=int, help="fewer for ax, which takes minutes")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--trainings", type=float, help="the budget, in trainings of mean length")
    parser.add_argument("--reference", choices=REFERENCES, default="default")
    parser.add_argument("--resume", type=Path, help="a file that keeps what is finished")
    parser.add_argument("--markdown", type=Path, help="write the page of results there")
    parser.add_argument("--images", type=Path, help="a folder for the pictures")
    parser.add_argument("--curves", type=Path, help="write all curves there, for the dashboard")
    options = parser.parse_args()
    if options.record and not set(options.problems) <= set(STUDIES):
        parser.error(f"only {' and '.join(STUDIES)} can be recorded")
    kinds = {STRATEGIES[name].kind for name in options.strategies}
    if options.markdown and not {"peer", "ours"} <= kinds:
        parser.error("--markdown needs a strategy of ours and a peer, like random, in --strategies")
    options.seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS)
    options.trainings = options.trainings or (QUICK_TRAININGS if options.quick else TRAININGS)
    return options


def _path(name: str, options: argparse.Namespace) -> Path:
    path: Path = options.folder / f"{name}.record"
    return path


def _problem(name: str, options: argparse.Namespace) -> tuple[Problem, Path]:
    """Return a problem, and the file on which its replays depend."""
    if name in SYNTHETIC:
        return Synthetic(name), Path(__file__).with_name("synthetic.py")
    path = _path(name, options)
    return Record.load(path), path


def _record(name: str, options: argparse.Namespace) -> None:
    study = study_of(name)
    keep = options.resume or _path(name, options).with_suffix(".unfinished")
    settings = list(
        record_study(study, data_dir=data_dir(), finished=Finished(keep, stamp()), say=_say)
    )
    images = images_of(study, data_dir())
    record = Record.of(study, settings, images=images, made_by={**stamp(), "commit": commit()})
    record.save(_path(name, options))
    grid = Grid.of(study)
    _say(
        f"{name}: {len(settings) * len(grid.partitions)} run configs, "
        f"{_path(name, options).stat().st_size:,} bytes"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _strategies(options: argparse.Namespace, report: Report) -> list[str]:
    """Return the strategies that were asked for and can run here."""
    missing = [start for start, package in _MAY_MISS.items() if not _is_installed(package)]
    chosen = []
    for name in options.strategies:
        if any(name.startswith(start) for start in missing):
            report.line(
                f"left out: {name}, which needs requirements-peers.txt or the extra searches"
            )
        else:
            chosen.append(name)
    return chosen


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _versions() -> list[str]:
    return [name for name in ("optuna", "ray", *_MAY_MISS.values()) if _is_installed(name)]


def _setting(options: argparse.Namespace) -> dict[str, object]:
    return {
        "problems": " ".join(options.problems),
        "seeds": options.seeds,
        "first": options.first,
        **({} if options.slow_seeds is None else {"slow_seeds": options.slow_seeds}),
        "trainings": options.trainings,
        "reference": options.reference,
    }


def _figures(report: Report, results: list[Result]) -> None:
    """Add the share of the budget that each of our strategies needs for the best peer's result."""
    kinds = {name: STRATEGIES[name].kind for name in results[0].curves}
    if "peer" not in kinds.values():
        return
    for name in [name for name, kind in kinds.items() if kind in ("ours", "ablation")]:
        part = "" if name == OURS else "_" + name.replace("-", "_")
        fractions = [result.reached(name).fraction for result in results]
        for result, fraction in zip(results, fractions, strict=True):
            _add(report, f"epochs_to_best_peer_hypervolume{part}_{result.name}", fraction)
        if len(results) > 1:
            aim = None if part else AIM
            mean = statistics.mean(fractions)
            _add(report, f"epochs_to_best_peer_hypervolume{part}", mean, aim)
        if part and OURS in kinds:
            ratios = [r.bundles[name].mean[-1] / r.bundles[OURS].mean[-1] for r in results]
            figure = f"hypervolume{part}_vs_ours"
            mean = float(statistics.mean(ratios))
            report.add(Figure(name=figure, value=mean, unit="ratio", better="higher"))


def _lead(report: Report, results: list[Result]) -> None:
    """Add how soon ours have what the best peer has that gets its operating points for free."""
    for name in (OURS, GAIN):
        part = "" if name == OURS else "_" + name.removeprefix(f"{OURS}-")
        fractions = []
        for result in results:
            peers = result.of_kind("beside")
            if not peers or name not in result.curves:
                continue
            best = best_of(peers)
            ours, theirs = result.bundles[name], peers[best]
            fraction = fraction_to_reach(ours, float(theirs.mean[-1]))
            fractions.append(min(fraction, 1.0))
            if name == OURS:
                report.line(f"{result.name}: the best peer with all its operating points is {best}")
            _add(report, f"epochs_to_best_peer_with_family{part}_{result.name}", fraction)
            error = math.hypot(ours.error[-1], theirs.error[-1])
            if error > 0:
                lead = float(ours.mean[-1] - theirs.mean[-1]) / error
                figure = f"lead_over_best_peer_with_family{part}_{result.name}"
                report.add(Figure(name=figure, value=lead, unit="standard errors", better="higher"))
        if fractions:
            _add(report, f"epochs_to_best_peer_with_family{part}", max(fractions), FAMILY_AIM)


def _add(report: Report, name: str, value: float, aim: float | None = None) -> None:
    if math.isinf(value):
        report.line(f"{name}: not reached within the budget")
        return
    report.add(Figure(name=name, value=value, unit="fraction", better="lower", aim=aim))


if __name__ == "__main__":
    sys.exit(main())
