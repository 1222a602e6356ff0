"""What waits for a GPU, in at most 25 minutes on one card, and the page that says what came of it.

Steps run one after another in order of worth, each in a process of its own with a
time limit of its own. A step that fails or takes too long is reported on the page,
and the next one starts. Every result is kept in `--folder`; the same command goes
on with the steps that have none, or that did not succeed. `--dry-run` walks the
same way on a processor at toy size, and writes another page.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.steps import ROOT, STEPS, Step, Where
from benchmarks.report import commit, data_dir, machine
from search.worker.engine import environment, pick_device

PAGE = ROOT / "docs" / "results-gpu.md"
LEAST_S = 20.0  # a step is not started with less
SHOWN = 15  # last lines of a step that failed
Result = dict[str, Any]


def run_step(step: Step, where: Where, seconds: float) -> Result:
    """Run a step for at most `seconds`; return what came of it."""
    started = time.monotonic()
    out, said = where.folder / f"{step.name}.out", where.folder / f"{step.name}.log"
    status = "ok"
    with out.open("w") as stdout, said.open("w") as stderr:
        process = subprocess.Popen(
            step.command(where, seconds),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            if process.wait(timeout=seconds):
                status = f"failed with status {process.returncode}"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):  # what it started, too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    printed = out.read_text(errors="replace")
    document: Mapping[str, Any] = {}
    with contextlib.suppress(json.JSONDecodeError):
        document = json.loads(printed)
    figures: list[Mapping[str, Any]] = []
    if status == "ok" and document:
        try:
            figures = step.figures(document)
        except (KeyError, TypeError, ZeroDivisionError) as error:
            status = f"printed something else than expected: {type(error).__name__}: {error}"
    lines = said.read_text(errors="replace").splitlines()
    if not document:
        lines = [*printed.splitlines(), *lines]
    return {
        "status": status,
        "seconds": time.monotonic() - started,
        "limit": seconds,
        "commit": commit(),
        "figures": figures,
        "setting": document.get("setting", {}),
        "said": [line for line in lines if line.strip()][-SHOWN:],
    }


def kept(step: Step, where: Where) -> Result | None:
    """Return the result of an earlier call, or None."""
    path = where.folder / f"{step.name}.json"
    try:
        result: Result = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return result


def run_all(where: Where, *, minutes: float, only: Sequence[str]) -> dict[str, Result]:
    """Run the steps that have not succeeded yet; return all results by step."""
    ends = time.monotonic() + 60 * minutes
    results = {}
    for step in STEPS:
        result = kept(step, where)
        if step.name in only and (result is None or result["status"] != "ok"):
            seconds = min(step.seconds, ends - time.monotonic())
            if seconds < LEAST_S:
                print(f"{step.name}: not started, no time is left", file=sys.stderr)
            else:
                print(f"{step.name}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
                result = run_step(step, where, seconds)
                path = where.folder / f"{step.name}.json"
                path.write_text(json.dumps(result, indent=2))
                print(f"  {result['status']}, {result['seconds']:.0f} s", file=sys.stderr)
        if result is not None:
            results[step.name] = result
    return results


def page(results: Mapping[str, Result], where: Where) -> str:
    """Return the page as Markdown."""
    here = environment(where.device)
    minutes = sum(result["seconds"] for result in results.values()) / 60
    title = "# Results on a GPU"
    if where.is_dry:
        title = "# Dry run, on a processor: nothing here is a result"
    lines = [
        title,
        "",
        "Written by `python -m benchmarks.gpu`; nobody edits it.",
        "",
        f"{here['device']}, {machine()}, torch {here['torch']}; {minutes:.0f} minutes in all.",
        "",
        "| step | result | seconds | limit | commit |",
        "| --- | --- | --- | --- | --- |",
    ]
    for step in STEPS:
        result = results.get(step.name)
        cells = ["was not run", "", "", ""]
        if result is not None:
            times = [f"{result[name]:.0f}" for name in ("seconds", "limit")]
            cells = [result["status"], *times, f"`{result['commit']}`"]
        lines.append(f"| {step.title} | {' | '.join(cells)} |")
    for step in STEPS:
        if step.name in results:
            lines += ["", f"## {step.title}", "", *_section(results[step.name])]
    return "\n".join([*lines, ""])


def _section(result: Result) -> list[str]:
    """Return the lines of one step: its figures, or the last that it said."""
    lines = []
    if result["setting"]:
        lines += [", ".join(f"{name}: {value}" for name, value in result["setting"].items()), ""]
    if result["figures"]:
        lines += ["| figure | value | aim |", "| --- | --- | --- |"]
        for figure in result["figures"]:
            aim = "" if figure["aim"] is None else f"{figure['aim']:.4g}"
            value = f"{figure['value']:.4g} {figure['unit']}".strip()
            lines.append(f"| `{figure['name']}` | {value} | {aim} |")
        lines.append("")
    return [*lines, "```text", *result["said"], "```"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and write the page. 1 where a step did not succeed, 2 without a GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0]
    )
    names = [step.name for step in STEPS]
    parser.add_argument("--dry-run", action="store_true", help="on a processor, at toy size")
    parser.add_argument("--data", type=Path, default=data_dir(), help="folder with CIFAR-10")
    parser.add_argument("--folder", type=Path, help="keep results there (default runs/gpu)")
    parser.add_argument("--minutes", type=float, default=25.0, help="of this call (default 25)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="STEP",
                        help=", ".join(names))  # fmt: skip
    parser.add_argument("--page", type=Path, help=f"default {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(argv)
    if not options.dry_run and pick_device("auto") != "cuda":
        print("needs a GPU, and torch sees none: spikefront doctor, or --dry-run", file=sys.stderr)
        return 2
    folder = options.folder or ROOT / "runs" / ("gpu-dry-run" if options.dry_run else "gpu")
    folder.mkdir(parents=True, exist_ok=True)
    where = Where(folder=folder.resolve(), data=options.data.resolve(), is_dry=options.dry_run)
    target = options.page or (folder / "page.md" if options.dry_run else PAGE)
    results = run_all(where, minutes=options.minutes, only=options.only)
    target.write_text(page(results, where), encoding="utf-8")
    print(target)
    is_done = all(results.get(name, {}).get("status") == "ok" for name in options.only)
    return 0 if is_done else 1


if __name__ == "__main__":
    raise SystemExit(main())
