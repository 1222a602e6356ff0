"""What people come for, from beginning to end in a real browser, on small real studies."""

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dashboard.serving.chromium import Tab, chromium, executable
from dashboard.serving.serve import serving
from search.commands.cli import main
from search.store.store import Store, StoredPoint
from search.trial.trial import TrialState
from tests.dashboard import real_study
from tests.dashboard.browsing import download, key, opened, press, shows, type_into

pytestmark = pytest.mark.skipif(
    executable() is None, reason="needs Chromium on the PATH, or named in SPIKEFRONT_CHROMIUM"
)

RING = (
    "document.querySelector('.st-key-family-chart .js-plotly-plot')"
    "._fullData.find(trace => trace.name === 'shown here')"
)


@pytest.fixture(scope="module")
def folder(real_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder: a copy of the real store, and a study file."""
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


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with chromium() as tab:
        tab.size(1440, 1000)
        yield tab


def smallest(points: list[StoredPoint], accuracy: float) -> StoredPoint:
    good = [each for each in points if each.point.metrics["accuracy"] >= accuracy]
    return min(good, key=lambda each: each.point.metrics["model_bytes"])


def test_find_the_smallest_network_above_a_target_see_why_it_exits_early_take_it_away(
    tab: Tab, app: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(url, read_only=True) as store:
        points = store.operating_points("real")
    accuracies = sorted(each.point.metrics["accuracy"] for each in points)
    target = accuracies[len(accuracies) // 2]
    wanted = smallest(points, target)

    # find it
    opened(tab, f"{app}/front?study=real&x=model_bytes&y=accuracy", text="Complete trials")
    type_into(tab, "Targets", f"accuracy >= {100 * target - 0.01:.2f} %")
    tab.wait_for("location.search.includes('targets=')")
    title = (
        "[...document.querySelectorAll('strong')].find(e => /best model size/i.test(e.innerText))"
    )
    tab.wait_for(title)
    tab.wait_for_page()
    card = f"{title}.closest('[data-testid=stVerticalBlock]')"
    shown = str(tab.evaluate(f"{card}.innerText"))
    assert f"Trial {wanted.trial} " in shown.replace("\u00a0", " ")
    press(tab, "Open trial", within=card)
    tab.wait_for("location.pathname === '/network'")
    shows(tab, f"Trial {wanted.trial}")

    # understand it
    press(tab, "Run it")
    shows(tab, "One image on its way", seconds=120)
    tab.wait_for_page()
    if not wanted.point.exit_thresholds:  # a first block by itself: keep its second one, too
        tab.evaluate("document.querySelector('.st-key-at-blocks input[type=range]').focus()")
        key(tab, "ArrowRight", 39)
    shows(tab, "Exit 1 takes")
    before = tab.evaluate(f"[{RING}.x[0], {RING}.y[0]].join()")
    slider = "document.querySelector('.st-key-at-exit-1 input[type=range]')"
    tab.wait_for(slider)
    tab.evaluate(f"{slider}.focus()")
    key(tab, "Home", 36)  # threshold 0: everything leaves at the first exit
    shows(tab, "Exit 1 takes 100.0 % of the images")
    tab.wait_for(f"[{RING}.x[0], {RING}.y[0]].join() !== {json.dumps(before)}")
    shows(tab, "block 2: not run")

    # take it away
    tab.wait_for_page()
    button = "document.querySelector('.st-key-export-trial')"
    file = download(tab, "Export", tmp_path / "downloads", within=button)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "taken")
    (taken,) = (tmp_path / "taken").iterdir()
    assert main(["evaluate", str(taken), "--data", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    accuracy = str(tab.evaluate("document.querySelector('[data-testid=stMetricValue]').innerText"))
    assert f"{accuracy_of(found):.1%}" == "".join(accuracy.split())


def test_the_ring_follows_a_slider_while_it_is_dragged(tab: Tab, app: str) -> None:
    opened(tab, f"{app}/network?study=real&trial=0&replay=on", text="Threshold of exit 1")
    thumb = "document.querySelector('.st-key-at-exit-1 input[type=range]').closest('[style]')"
    tab.evaluate(f"{thumb}.scrollIntoView({{block: 'center'}})")
    x, y = tab.evaluate(
        f"(() => {{ const box = {thumb}.getBoundingClientRect();"
        "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
    )
    mark = (
        "[...document.querySelectorAll('.st-key-family-chart .scatterlayer .trace')]"
        ".find(each => each.__data__[0].trace.name === 'shown here')"
        ".querySelector('path.point').getAttribute('transform')"
    )
    before = tab.evaluate(mark)

    def mouse(kind: str, at: float) -> None:
        tab.call("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", clickCount=1)

    mouse("mouseMoved", x)
    mouse("mousePressed", x)
    mouse("mouseMoved", 100)  # far left: threshold 0, everything leaves at the first exit
    tab.wait_for(f"{mark} !== {json.dumps(before)}")
    assert "at=" not in tab.evaluate("location.search")  # it was not let go yet
    mouse("mouseReleased", 100)
    tab.wait_for("location.search.includes('at=')")
    shows(tab, "Exit 1 takes 100.0 % of the images")


def test_a_click_on_a_dot_marks_its_trial_and_opens_it(tab: Tab, app: str) -> None:
    opened(tab, f"{app}/matters?study=real&look=time", text="Click a dot")
    plot = "document.querySelector('[class*=st-key-tried-] .js-plotly-plot')"
    tab.evaluate(f"{plot}.scrollIntoView({{block: 'center'}})")
    x, y = tab.evaluate(
        f"(() => {{ const box = {plot}.querySelector('path.point').getBoundingClientRect();"
        "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
    )
    tab.hover(x, y)
    tab.click(x, y)
    tab.wait_for("/trial=\\d/.test(location.search)")
    number = tab.evaluate("new URLSearchParams(location.search).get('trial')")
    press(tab, f"Open trial {number}")
    tab.wait_for("location.pathname === '/network'")
    shows(tab, f"Trial {number}")


def accuracy_of(document: dict[str, object]) -> float:
    """The accuracy that `spikefront evaluate --json` found."""
    for value in document.values():
        if isinstance(value, dict):
            if isinstance(value.get("accuracy"), int | float):
                return float(value["accuracy"])
            if isinstance(value.get("metrics"), dict) and "accuracy" in value["metrics"]:
                return float(value["metrics"]["accuracy"])
    raise AssertionError(f"no accuracy in {document}")


def test_launch_a_study_and_watch_it_finish(tab: Tab, app: str, url: str, folder: Path) -> None:
    opened(tab, f"{app}/launch", text="configurations")
    shows(tab, "Study file")
    press(tab, "Start")
    tab.wait_for("location.search.includes('watch=new')")
    shows(tab, "$ spikefront run", seconds=60)
    shows(tab, "1 of 1 trials finished", seconds=120)
    shows(tab, "Finished", seconds=60)
    shows(tab, "all 1 trials of the budget were run")
    shows(tab, "(ended with exit code 0)")
    with Store(url, read_only=True) as store:
        (trial,) = store.trials("new")
    assert trial.state is TrialState.COMPLETE
    assert len(list((folder / "runs" / "logs").glob("new-*.log"))) == 1
    press(tab, "Open the front")
    tab.wait_for("location.pathname === '/front' && location.search.includes('study=new')")
    shows(tab, "The front")


def test_compare_two_samplers(tab: Tab, app: str, url: str) -> None:
    address = urlencode([("with", "real"), ("with", "second")])
    opened(tab, f"{app}/compare?{address}", text="Fronts")
    names = tab.evaluate(
        "[...document.querySelectorAll('.st-key-compared-hypervolumes .js-plotly-plot')]"
        ".flatMap(plot => plot._fullData.map(trace => trace.name)).join()"
    )
    assert names == "real,second"
    press(tab, "Samplers")
    tab.wait_for("location.search.includes('by=sampler')")
    tab.wait_for_page()
    drawn = tab.evaluate(
        "document.querySelector('.st-key-compared-fronts .js-plotly-plot')._fullData.length"
    )
    assert drawn >= 2
    assert [each for each in tab.complaints if "404" not in each] == []
