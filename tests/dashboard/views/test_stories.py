"""Tasks of a user from beginning to end in a real browser, on small real studies."""

import json
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from search.commands.cli import main
from search.store.store import Store, StoredPoint
from search.trial.trial import TrialState
from tests.dashboard import real_study
from tests.dashboard.browsing import opened, press, recorded, shows
from tools.browser import wait_until_drawn
from tools.serving import serving

# JavaScript: where the mark of the operating point shown is drawn, once it is.
RING = """
[...document.querySelectorAll('.st-key-family-chart .scatterlayer .trace')]
    .find(each => each.__data__[0].trace.name === 'shown here')
    ?.querySelector('path.point')?.getAttribute('transform')
"""


@pytest.fixture(scope="module")
def folder(real_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a copy of the real store, and a study file."""
    folder = tmp_path_factory.mktemp("work")
    with (
        sqlite3.connect(real_url.removeprefix("sqlite:///")) as source,
        sqlite3.connect(folder / "store.db") as target,
    ):
        source.backup(target)
    (folder / "studies").mkdir()
    (folder / "studies" / "new.toml").write_text(real_study.study_text("new", trials=1))
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.db'}"


@pytest.fixture(scope="module")
def app(url: str, folder: Path) -> Iterator[str]:
    with serving(url, folder=folder) as address:
        yield address


def smallest(points: list[StoredPoint], accuracy: float) -> StoredPoint:
    good = [each for each in points if each.point.metrics["accuracy"] >= accuracy]
    return min(good, key=lambda each: each.point.metrics["model_bytes"])


def test_find_the_smallest_network_above_a_target_see_its_exits_and_export_it(
    page: Page, app: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(url, read_only=True) as store:
        points = store.operating_points("real")
    accuracies = sorted(each.point.metrics["accuracy"] for each in points)
    target = accuracies[len(accuracies) // 2]
    wanted = smallest(points, target)

    # find it
    opened(page, f"{app}/front?study=real&x=model_bytes&y=accuracy", text="Complete trials")
    targets = page.get_by_role("textbox", name="Targets")
    targets.fill(f"accuracy >= {100 * target - 0.01:.2f} %")
    targets.press("Enter")
    expect(page).to_have_url(re.compile("targets="))
    card = page.get_by_test_id("stVerticalBlock").filter(
        has=page.locator("strong").filter(has_text=re.compile("best model size", re.I))
    )
    shows(card.last, f"Trial {wanted.trial} ")
    wait_until_drawn(page)
    press(card.last, "Open trial")
    expect(page).to_have_url(re.compile("/network"))
    shows(page, f"Trial {wanted.trial}")

    # understand it
    press(page, "Run it")
    shows(page, "One image on its way")
    wait_until_drawn(page)
    if not wanted.point.exit_thresholds:  # a first block by itself: keep its second one, too
        page.locator(".st-key-at-blocks input[type=range]").press("ArrowRight")
    shows(page, "Exit 1 takes")
    before = page.evaluate(RING)
    threshold = page.locator(".st-key-at-exit-1 input[type=range]")
    threshold.press("Home")  # threshold 0: every image leaves at the first exit
    shows(page, "Exit 1 takes 100.0 % of the images")
    page.wait_for_function(f"before => ({RING}) !== before", arg=before)
    shows(page, "block 2: not run")

    # take it away
    wait_until_drawn(page)
    with page.expect_download() as download:
        press(page.locator(".st-key-export-trial"), "Export")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path / "taken")
    (taken,) = (tmp_path / "taken").iterdir()
    assert main(["evaluate", str(taken), "--data", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    accuracy = page.get_by_test_id("stMetricValue").first.inner_text()
    assert f"{accuracy_of(found):.1%}" == "".join(accuracy.split())


def test_the_ring_follows_a_slider_while_it_is_dragged(page: Page, app: str) -> None:
    opened(page, f"{app}/network?study=real&trial=0&replay=on", text="Threshold of exit 1")
    slider = page.locator(".st-key-at-exit-1")
    slider.scroll_into_view_if_needed()
    box = slider.locator("input[type=range]").locator("xpath=ancestor::*[@style][1]").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.evaluate(RING)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(100, y)  # far left: threshold 0, every image leaves at the first exit
    page.wait_for_function(f"before => ({RING}) !== before", arg=before)
    assert "at=" not in page.url  # the mouse button is still down
    page.mouse.up()
    expect(page).to_have_url(re.compile("at="))
    shows(page, "Exit 1 takes 100.0 % of the images")


def test_a_click_on_a_dot_marks_its_trial_and_opens_it(page: Page, app: str) -> None:
    opened(page, f"{app}/importance?study=real&view=time", text="Click a dot")
    dot = page.locator("[class*=st-key-tried-] .js-plotly-plot path.point").first
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile(r"trial=\d"))
    number = page.evaluate("new URLSearchParams(location.search).get('trial')")
    press(page, f"Open trial {number}")
    expect(page).to_have_url(re.compile("/network"))
    shows(page, f"Trial {number}")


def accuracy_of(document: dict[str, object]) -> float:
    """The accuracy that `spikefront evaluate --json` found."""
    for value in document.values():
        if isinstance(value, dict):
            if isinstance(value.get("accuracy"), int | float):
                return float(value["accuracy"])
            if isinstance(value.get("metrics"), dict) and "accuracy" in value["metrics"]:
                return float(value["metrics"]["accuracy"])
    raise AssertionError(f"no accuracy in {document}")


def test_launch_a_study_and_watch_it_finish(page: Page, app: str, url: str, folder: Path) -> None:
    opened(page, f"{app}/launch", text="configurations")
    shows(page, "Study file")
    press(page, "Start")
    expect(page).to_have_url(re.compile("watch=new"))
    for text in (
        "$ spikefront run",
        "1 of 1 trial finished",
        "Finished",
        "the only trial of the budget was run",
        "(ended with exit code 0)",
    ):
        shows(page, text)
    with Store(url, read_only=True) as store:
        (trial,) = store.trials("new")
    assert trial.state is TrialState.COMPLETE
    assert len(list((folder / "runs" / "logs").glob("new-*.log"))) == 1
    press(page, "Open the front")
    expect(page).to_have_url(re.compile(r"/front\?.*study=new"))
    shows(page, "The front")


def test_compare_two_samplers(page: Page, app: str, url: str) -> None:
    seen = recorded(page)
    address = urlencode([("with", "real"), ("with", "second")])
    opened(page, f"{app}/compare?{address}", text="Fronts")
    names = page.locator(".st-key-compared-hypervolumes .js-plotly-plot").evaluate_all(
        "all => all.flatMap(plot => plot._fullData.map(trace => trace.name))"
    )
    assert names == ["real", "second"]
    press(page, "Samplers")
    expect(page).to_have_url(re.compile("by=sampler"))
    wait_until_drawn(page)
    drawn = page.locator(".st-key-compared-fronts .js-plotly-plot").last
    assert drawn.evaluate("plot => plot._fullData.length") >= 2
    assert seen.errors == []
