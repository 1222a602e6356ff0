"""Every page of the documentation is run, as it stands.

Studies have the names, axes and objectives that pages speak of, and budgets of seconds. What
a page cannot know, the address of a database or how good a network is, is put in its place.
"""

import re
import tomllib
from pathlib import Path

import pytest
import tomli_w

from search.study.study import study_from_toml
from tests import pages
from tests.page_folder import DOCS, run_page
from tests.pages import ROOT

PAGES = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("install", "tutorial", "concepts", "troubleshooting")),
    DOCS / "reference.md",
    *sorted((DOCS / "how-to").glob("*.md")),
    *sorted((DOCS / "explanation").glob("*.md")),
    DOCS / "dev" / "pictures.md",
    ROOT / "CONTRIBUTING.md",
]

# Nothing else is left out.
NOT_RUN = {
    "pictures.md": ["minutes, and a browser"],
    "gpu.md": [
        "wants a GPU and CIFAR-10",
        "minutes",
        "a test of its own",
        "290 MB to fetch",
        "wants a GPU",
        "wants a GPU and CIFAR-10",
        "wants a GPU and CIFAR-10",
    ],
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "how-to"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_runs_as_it_stands(page: Path, prepared: Path, tmp_path: Path) -> None:
    """How-to pages are run in a file of their own, beside this one."""
    run_page(page, prepared, tmp_path)


def test_every_block_is_run_but_for_those_that_are_known() -> None:
    left_out = {page.name: [b.reason for b in pages.blocks(page) if b.reason] for page in PAGES}
    assert {name: reasons for name, reasons in left_out.items() if reasons} == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    assert {block.language for block in pages.blocks(page)} <= pages.LANGUAGES
    prose = pages.BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert re.findall(r"\n\n(?: {4}|\t)(?![-*\d]).*", prose) == []  # code by its indentation
    assert "not run:" not in prose


def test_every_part_of_a_study_file_that_is_shown_goes_with_one() -> None:
    parts = 0
    for page in PAGES:
        for block in pages.blocks(page):
            if block.language == "toml" and block.file is None:
                parts += 1
                study_from_toml(with_part(block.text), f"{page.name}:{block.line}")
    assert parts > 5


def with_part(text: str) -> str:
    """The study `digits` with a part of another; an axis by itself is one of [space]."""
    part = tomllib.loads(text)
    if "name" in part:
        return text
    if all(isinstance(value, dict) and "when" in value for value in part.values()):
        part = {"run": {"epochs": 10}, "space": {"block_classes": ["all", "hard"], **part}}
    study = tomllib.loads((ROOT / "studies" / "digits.toml").read_text(encoding="utf-8"))
    study["name"] = "my-study"
    run, space = part.get("run", {}), part.get("space", {})
    if {"architecture", "norm", "start", "time_rule"} & {*run} or "units" in space:
        study["space"] = {"timesteps": [2, 4]}  # other axes need not go with it
    if "time_rule" in {*run, *space}:
        study["run"].pop("loss", None)  # each rule has its own
    if "architecture" in run or "units" in space:
        study["run"].pop("backbone")  # an architecture is in its place
    for table, other in (("run", "space"), ("space", "run")):
        for name in part.get(table, {}):
            study[other].pop(name, None)
    for table, values in part.items():
        study[table] = {**study.get(table, {}), **values}
    return tomli_w.dumps(study)
