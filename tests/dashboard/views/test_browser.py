"""The pages in a real browser: what AppTest cannot see, figures and the mouse above all."""

import json
from collections.abc import Iterator

import pytest

from dashboard.parts.store_cache import study_view
from dashboard.serving.chromium import Tab, chromium, executable
from dashboard.serving.serve import serving

pytestmark = pytest.mark.skipif(
    executable() is None, reason="needs Chromium on the PATH, or named in SPIKEFRONT_CHROMIUM"
)

FIGURE = "document.querySelector('.st-key-front-chart .js-plotly-plot')"


@pytest.fixture(scope="module")
def app(example_url: str) -> Iterator[str]:
    with serving(example_url) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Tab:
    browser.open("about:blank")
    browser.prefer("light")
    browser.size(1440, 900)
    browser.complaints.clear()
    browser.requested.clear()
    return browser


def opened(tab: Tab, address: str, *, text: str) -> None:
    tab.open(address)
    tab.wait_for(f"document.body.innerText.includes({json.dumps(text)})")
    tab.wait_for_page()


def place_of(tab: Tab, point: int) -> tuple[float, float]:
    """Where on the window the operating point with this id is drawn."""
    place = tab.evaluate(
        f"""(() => {{
            const plot = {FIGURE}, box = plot.getBoundingClientRect(), size = plot._fullLayout;
            for (const trace of plot._fullData) {{
                const at = trace.customdata ? Array.from(trace.customdata).indexOf({point}) : -1;
                if (at < 0) continue;
                const x = size.xaxis.type === 'log' ? Math.log10(trace.x[at]) : trace.x[at];
                return [
                    box.left + size.xaxis._offset + size.xaxis.l2p(x),
                    box.top + size.yaxis._offset + size.yaxis.l2p(trace.y[at]),
                ];
            }}
        }})()"""
    )
    return float(place[0]), float(place[1])


@pytest.mark.parametrize(
    ("path", "text", "mode", "width"),
    [
        ("/", "trials finished", "light", 1440),
        ("/front?study=digits", "Knee of the front", "dark", 420),
        ("/network?study=digits&trial=0", "Where each class leaves", "dark", 1440),
        ("/network?study=digits&trial=6", "It failed", "light", 420),
        ("/matters?study=digits&look=parallel", "Marked trial", "dark", 420),
        ("/compare?with=digits&with=finished", "Hypervolume", "light", 420),
        ("/export?study=digits", "Report", "dark", 420),
        ("/launch?watch=digits", "Runs", "light", 420),
    ],
)
def test_a_page_is_drawn_without_complaints_and_without_other_hosts(
    path: str, text: str, mode: str, width: int, tab: Tab, app: str
) -> None:
    tab.prefer(mode)
    tab.size(width, 900)
    opened(tab, app + path, text=text)
    # Streamlit probes for its own address below that of a page.
    assert [each for each in tab.complaints if "404" not in each] == []
    assert [each for each in tab.requested if not each.startswith((app, "data:", "blob:"))] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_a_study_leads_to_its_front(tab: Tab, app: str) -> None:
    opened(tab, f"{app}/", text="Open the front")
    tab.evaluate("document.querySelectorAll('[data-testid=stPageLink] a')[1].click()")
    tab.wait_for("location.pathname === '/front'")
    tab.wait_for("location.search.includes('study=finished')")


def test_a_point_that_is_clicked_is_in_the_table_and_in_the_address(
    tab: Tab, app: str, example_url: str
) -> None:
    table = study_view(example_url, "digits").table
    member = int(table.ids[table.on_front][table.figures["accuracy"][table.on_front].argmax()])
    tab.prefer("dark")
    opened(tab, f"{app}/front?study=digits", text="Knee of the front")
    assert tab.evaluate(f"{FIGURE}._fullLayout.font.color") == "#e6ebf1"  # as dark as the page
    x, y = place_of(tab, member)
    tab.hover(x, y)
    tab.wait_for("document.querySelector('.hoverlayer')?.textContent.includes('Trial')")
    tab.click(x, y)
    tab.wait_for(f"location.search.includes('selected={member}')")
    tab.wait_for("document.body.innerText.includes('1 selected')")


def test_a_lasso_around_everything_selects_the_front(tab: Tab, app: str) -> None:
    opened(tab, f"{app}/front?study=digits&dominated=off", text="Knee of the front")
    tool = "document.querySelector('.st-key-front-chart [data-attr=dragmode][data-val=lasso]')"
    tab.evaluate(f"{tool}.click()")
    tab.wait_for(f"{FIGURE}._fullLayout.dragmode === 'lasso'")
    left, top, right, bottom = tab.evaluate(
        f"(() => {{ const area = {FIGURE}.querySelector('.plotly .nsewdrag');"
        "const box = area.getBoundingClientRect();"
        "return [box.left + 3, box.top + 3, box.right - 3, box.bottom - 3]; })()"
    )

    def mouse(kind: str, x: float, y: float) -> None:
        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1)

    mouse("mousePressed", left, top)
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 9)):
        mouse("mouseMoved", x, y)
    mouse("mouseReleased", left, top + 9)
    tab.wait_for("location.search.includes('selected=')")
    tab.wait_for("/[0-9]+ selected/.test(document.body.innerText)")


def test_the_address_alone_brings_a_selection_back_and_a_toggle_changes_the_axis(
    tab: Tab, app: str, example_url: str
) -> None:
    table = study_view(example_url, "digits").table
    chosen = ",".join(str(point) for point in table.ids[table.on_front][:3])
    opened(tab, f"{app}/front?study=digits&selected={chosen}", text="3 selected")
    marked = f"{FIGURE}._fullData.reduce((n, t) => n + (t.selectedpoints || []).length, 0)"
    assert tab.evaluate(marked) == 3
    tab.evaluate("document.querySelector('[data-testid=stCheckbox] input').click()")
    tab.wait_for(f"{FIGURE}._fullLayout.xaxis.type === 'linear'")
    assert "scale_x=linear" in tab.evaluate("location.search")
    assert tab.evaluate(marked) == 3
