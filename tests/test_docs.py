"""The documentation says what there is, and its links lead somewhere."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.commands.docs_reference import reference
from search.commands.registry import COMMANDS
from search.study.study import load_study, study_from_toml
from tests import pages
from tests.test_layering import WINGS
from tools.docs_python import python_reference

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("**/*.md"))]
DECISIONS = sorted((DOCS / "decisions").glob("0*.md"))
WRITE_A_STUDY = DOCS / "how-to" / "write-a-study.md"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MOST_LINES_OF_THE_README = 150


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its fenced blocks, in which brackets mean other things."""
    return pages.BLOCK.sub("", text_of(page))


def links(page: Path) -> list[str]:
    return [target for target in LINK.findall(prose(page)) if "://" not in target]


@functools.cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_broken(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return not file.exists() or (bool(anchor) and anchor not in anchors(file))


def test_every_relative_link_leads_somewhere() -> None:
    found = [(page, target) for page in PAGES for target in links(page)]
    assert len(found) > 100
    broken = [f"{page.name}: {target}" for page, target in found if is_broken(page, target)]
    assert broken == []


def test_every_page_can_be_reached_from_the_list_of_all_pages() -> None:
    reached, new = set(), [DOCS / "README.md"]
    while new:
        page = new.pop().resolve()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            new += [page.parent / target.partition("#")[0] for target in links(page)]
    assert {page.resolve() for page in PAGES} - reached == set()


def test_the_readme_is_short() -> None:
    assert text_of(ROOT / "README.md").count("\n") <= MOST_LINES_OF_THE_README


def typed_commands(page: Path) -> set[str]:
    """The commands of `spikefront` in a page's code; a complaint begins with `spikefront:`."""
    fenced = [b.text for b in pages.blocks(page) if b.language in ("", "console")]
    code = "\n".join([*fenced, *re.findall(r"`[^`]+`", prose(page))])
    return set(re.findall(r"(?<![\w./-])spikefront ([a-z]+)", code))


def test_pages_type_every_command_and_none_that_there_is_not() -> None:
    typed = {page: typed_commands(page) for page in PAGES if page.name != "CHANGELOG.md"}
    there = {command.name for command in COMMANDS}
    unknown = {page.name: words - there for page, words in typed.items() if words - there}
    assert unknown == {}
    by_hand = [words for page, words in typed.items() if page != DOCS / "reference.md"]
    assert there - set().union(*by_hand) == set()


def test_the_page_on_studies_names_every_study_file() -> None:
    named = {Path(target).name for target in links(WRITE_A_STUDY)}
    assert {path.name for path in (ROOT / "studies").glob("*.toml")} <= named


def test_the_study_that_is_explained_line_by_line_is_the_one_in_its_file() -> None:
    whole = [block.text for block in pages.blocks(WRITE_A_STUDY) if "\nname = " in block.text]
    study = study_from_toml(whole[0], WRITE_A_STUDY.name)
    digits = load_study(ROOT / "studies" / "digits.toml")
    assert study.differences(digits) == []
    assert study.budget == digits.budget


def test_the_architecture_draws_the_wings_in_the_order_of_their_floors() -> None:
    (drawing,) = [b.text for b in pages.blocks(DOCS / "architecture.md") if b.language == "text"]
    rows = [line[:26].split() for line in drawing.splitlines() if line.strip()[:1].isalpha()]
    drawn: dict[str, list[str]] = {}
    for words in rows:
        if words[0] in WINGS:
            drawn[words.pop(0)] = []
        drawn[list(drawn)[-1]].insert(0, words[0])
    assert drawn == {package: wings.split() for package, wings in WINGS.items()}


def constants(package: str) -> Iterator[str]:
    """The texts of a package's code, parts of f-strings each by itself."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_messages_of_the_troubleshooting_page_are_in_the_code() -> None:
    rows = [line for line in text_of(DOCS / "troubleshooting.md").splitlines() if line[:3] == "| `"]
    quoted = [part for row in rows for part in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(quoted) > 20
    said = "\n".join(text for package in WINGS for text in constants(package))
    by_the_shell = {"spikefront: command not found"}
    assert [part for part in quoted if part not in said and part not in by_the_shell] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name[:4])
def test_a_decision_has_a_date_and_the_parts_of_every_decision(page: Path) -> None:
    title, _, date = text_of(page).split("\n")[:3]
    assert title.startswith(f"# {page.name[:4]}. ")
    assert re.match(r"\d{4}-\d\d-\d\d", date)
    parts = re.findall(r"^\*\*([^*]+)\.\*\*", text_of(page), re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequences", "What would change it"]


def test_the_list_of_decisions_is_whole_and_in_order() -> None:
    listed = links(DOCS / "decisions" / "README.md")
    assert listed == [page.name for page in DECISIONS]
    assert [int(name[:4]) for name in listed] == list(range(1, len(listed) + 1))


def test_the_reference_is_what_the_code_declares() -> None:
    assert text_of(DOCS / "reference.md") == reference(), (
        "write it anew: python -m search.commands.docs_reference > docs/reference.md"
    )


def test_the_reference_of_the_python_interface_is_what_the_code_says() -> None:
    assert text_of(DOCS / "reference-python.md") == python_reference(), (
        "write it anew: python -m tools.docs_python > docs/reference-python.md"
    )
