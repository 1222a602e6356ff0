"""The documentation says what there is, and what it points at exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.commands.docs_reference import reference
from search.commands.registry import COMMANDS
from search.study.study import load_study, study_from_toml
from snn.settings.measurement import METRICS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """A page without its fenced blocks, in which brackets mean other things."""
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
            if "://" not in target:
                yield page, target


def rows(text: str, heading: str) -> list[str]:
    """The rows of the first table behind a heading."""
    table = text.partition(f"\n{heading}\n")[2].partition("\n| --- ")[2].partition("\n\n")[0]
    return table.splitlines()[1:]


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_the_readme_names_every_command(name: str) -> None:
    assert any(f"`spikefront {name}`" in row for row in rows(README, "## Commands"))


def test_the_readme_types_every_command_and_none_that_there_is_not() -> None:
    typed = set(re.findall(r"spikefront ([a-z]+)", code(README)))
    assert typed == {command.name for command in COMMANDS}


def code(text: str) -> str:
    """All that a page has in code; what a command complains of begins with `spikefront:`."""
    fenced = [block for language, block in FENCE.findall(text) if language in ("", "console")]
    return "\n".join([*fenced, *re.findall(r"`[^`]+`", prose(text))])


def test_the_readme_has_the_metrics_as_they_are_declared() -> None:
    declared = [f"| `{m.name}` | {m.unit} | {m.better} | {m.meaning} |" for m in METRICS.values()]
    assert rows(README, "## Metrics") == declared


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.toml")), ids=lambda p: p.name)
def test_the_readme_names_every_study_file(path: Path) -> None:
    assert f"(studies/{path.name})" in README


def test_every_relative_link_leads_somewhere() -> None:
    assert len(list(links())) > 10
    lost = []
    for page, target in links():
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(f"{page.name}: {target}")
    assert lost == []


def test_the_study_that_the_readme_explains_is_the_one_in_its_file() -> None:
    whole = [block for language, block in FENCE.findall(README) if language == "toml"]
    (explained,) = [block for block in whole if "\nname = " in block]
    study = study_from_toml(explained, "README.md")
    digits = load_study(ROOT / "studies" / "digits.toml")
    assert study.differences(digits) == []
    assert study.budget == digits.budget


@pytest.mark.parametrize("package", ["snn", "search", "dashboard"])
def test_the_house_lists_every_file_of_a_package_and_none_that_is_gone(package: str) -> None:
    table = ARCHITECTURE.partition(f"\n| `{package}/` | |\n")[2].partition("\n\n")[0]
    listed = {
        name.rstrip("/")
        for row in table.splitlines()[1:]
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", row.split("|")[1])
    }
    there = {
        path.name
        for path in (ROOT / package).iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    assert listed == there - {"__init__.py"}


def test_the_reference_is_what_the_code_declares() -> None:
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == reference(), (
        "write it anew: python -m search.commands.docs_reference > docs/reference.md"
    )
