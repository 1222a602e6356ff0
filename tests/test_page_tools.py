"""What runs the pages sees what is wrong with one."""

from pathlib import Path

import pytest

from tests import page_tools, pages


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


def run(folder: Path, text: str) -> str:
    (folder / "place").mkdir()
    return pages.run(page(folder, text), folder / "place")


def test_blocks_are_run_in_their_order_and_keep_what_they_set(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        "```\nexport WORD=first\n```\n\n```python\n# sub/mine.py\nVALUE = 41\n```\n\n"
        "```python\nfrom sub.mine import VALUE\n```\n\n```python\nprint(VALUE + 1)\n```\n\n"
        "```\necho $WORD\n```\n\n```text\nnot a command\n```\n",
    )
    assert said.split() == ["42", "first"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("```\ntrue\n```\n\nWords.\n\n```\nfalse\necho not come to\n```\n", 8),
        ("```\nfalse | true\n```\n", 2),
        ("```python\nassert False\n```\n", 2),
        ("```console\n$ echo something\nsomething else\n```\n", 2),
        ("```console\n$ echo spikefront: complains\nspikefront: complains\n```\n", 2),
    ],
)
def test_a_block_that_fails_is_named(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(
        AssertionError, match=rf"(?s)page\.md:.*failed: the block at page\.md:{line}"
    ):
        run(tmp_path, text)


def test_a_block_may_be_left_out_with_a_reason(tmp_path: Path) -> None:
    text = "<!-- not run: it cannot -->\n```\nfalse\n```\n"
    assert [block.reason for block in pages.blocks(page(tmp_path, text))] == ["it cannot"]
    assert run(tmp_path, text) == ""


def test_what_a_page_leaves_running_is_ended(tmp_path: Path) -> None:
    run(tmp_path, "```\nsleep 1000 & echo $! > pid\nnohup setsid sleep 1000 > /dev/null &\n```\n")
    process = Path("/proc") / (tmp_path / "place" / "pid").read_text().strip()
    assert not process.exists() or ") Z " in (process / "stat").read_text()


def test_numbers_and_spaces_of_an_output_may_differ() -> None:
    assert page_tools.is_printed("trial 3  complete  98.6 %", "x\ntrial 12 complete 7 %\n")
    assert page_tools.is_printed("trial 3 ... ops", "trial 4  complete  28.6 k ops")
    assert not page_tools.is_printed("trial 3  complete", "trial 3  pruned")
    assert not page_tools.is_printed("complete", "trial 3  complete")


def test_a_query_that_finds_nothing_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    sqlite3.connect(page_tools.STORE).close()
    (tmp_path / "some.sql").write_text("SELECT 1;\n")
    (tmp_path / "none.sql").write_text("SELECT 1;\nSELECT 1 WHERE 0;\n")
    assert page_tools.sql("some.sql") == 0
    assert page_tools.sql("none.sql") == 1
