"""The pages in a real browser: figures and the mouse, which AppTest does not have."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from dashboard.parts.store_cache import study_view
from tests.dashboard import real_study
from tests.dashboard.browsing import opened, recorded, shows
from tools.serving import serving

FIGURE = ".st-key-front-chart[data-stale=false] .js-plotly-plot"
LOCATION_OF_POINT = """
(plot, point) => {
    const box = plot.getBoundingClientRect(), size = plot._fullLayout;
    for (const trace of plot._fullData) {
        const at = trace.customdata ? Array.from(trace.customdata).indexOf(point) : -1;
        if (at < 0) continue;
        const x = size.xaxis.type === 'log' ? Math.log10(trace.x[at]) : trace.x[at];
        return [
            box.left + size.xaxis._offset + size.xaxis.l2p(x),
            box.top + size.yaxis._offset + size.yaxis.l2p(trace.y[at]),
        ];
    }
}
"""
HAS_THREE_SELECTED = (
    "plot._fullData.reduce((n, trace) => n + (trace.selectedpoints || []).length, 0) === 3"
)


@pytest.fixture(scope="module")
def app(example_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "studies").mkdir()
    (folder / "studies" / "new.toml").write_text(real_study.study_text("new"))
    with serving(example_url, folder=folder) as address:
        yield address


def front_figure(page: Page) -> Locator:
    return page.locator(FIGURE)


def wait_for_figure(page: Page, condition: str) -> None:
    """Wait until a JavaScript condition on `plot` holds, which may be drawn anew meanwhile."""
    page.wait_for_function(
        f"(plot => plot?._fullData && {condition})(document.querySelector('{FIGURE}'))"
    )


@pytest.mark.parametrize(
    ("path", "text", "mode", "width"),
    [
        ("/", "trials finished", "light", 1440),
        ("/launch?watch=digits", "Runs", "light", 420),
        ("/compare?with=digits&with=finished", "Hypervolume", "light", 420),
        ("/network?study=digits&trial=6", "It failed", "light", 420),
        ("/front?study=digits", "Knee of the front", "dark", 420),
        ("/importance?study=digits&view=parallel", "Marked trial", "dark", 420),
        ("/export?study=digits", "Report", "dark", 420),
        ("/network?study=digits&trial=0", "Share of each class", "dark", 1440),
    ],
)
def test_a_page_fits_the_window_logs_no_error_and_asks_no_other_host(
    path: str, text: str, mode: str, width: int, page: Page, app: str
) -> None:
    page.emulate_media(color_scheme="dark" if mode == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    seen = recorded(page)
    opened(page, app + path, text=text)
    assert seen.errors == []
    assert [each for each in seen.requests if not each.startswith((app, "data:", "blob:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_study_leads_to_its_front(page: Page, app: str) -> None:
    opened(page, f"{app}/", text="Open the front")
    page.get_by_role("link", name="Open the front").nth(1).click()
    expect(page).to_have_url(re.compile(r"/front\?.*study=finished"))


def test_a_clicked_point_is_in_the_table_and_in_the_address(
    page: Page, app: str, example_url: str
) -> None:
    table = study_view(example_url, "digits").table
    member = int(table.ids[table.on_front][table.figures["accuracy"][table.on_front].argmax()])
    page.emulate_media(color_scheme="dark")
    opened(page, f"{app}/front?study=digits", text="Knee of the front")
    wait_for_figure(page, "plot._fullLayout.font.color === '#e6ebf1'")  # as on the page
    x, y = front_figure(page).evaluate(LOCATION_OF_POINT, member)
    page.mouse.move(x, y)
    expect(page.locator(".hoverlayer").filter(has_text="Trial")).to_be_attached()
    page.mouse.click(x, y)
    expect(page).to_have_url(re.compile(f"selected={member}"))
    shows(page, "1 selected")


def test_a_lasso_around_the_figure_selects_the_front(page: Page, app: str) -> None:
    opened(page, f"{app}/front?study=digits&dominated=off", text="Knee of the front")
    page.locator(".st-key-front-chart [data-attr=dragmode][data-val=lasso]").dispatch_event("click")
    wait_for_figure(page, "plot._fullLayout.dragmode === 'lasso'")
    left, top, width, height = (
        front_figure(page)
        .locator(".plotly .nsewdrag")
        .evaluate(
            "area => { const box = area.getBoundingClientRect();"
            "return [box.left + 3, box.top + 3, box.width - 6, box.height - 6]; }"
        )
    )
    right, bottom = left + width, top + height
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 9)):
        page.mouse.move(x, y)
    page.mouse.up()
    expect(page).to_have_url(re.compile("selected="))
    expect(page.locator("body")).to_contain_text(re.compile(r"[0-9]+ selected"))


def test_an_address_restores_a_selection_which_a_change_of_scale_keeps(
    page: Page, app: str, example_url: str
) -> None:
    table = study_view(example_url, "digits").table
    chosen = ",".join(str(point) for point in table.ids[table.on_front][:3])
    opened(page, f"{app}/front?study=digits&selected={chosen}", text="3 selected")
    wait_for_figure(page, HAS_THREE_SELECTED)
    page.get_by_test_id("stCheckbox").first.locator("label").click()
    expect(page).to_have_url(re.compile("scale_x=linear"))
    wait_for_figure(page, "plot._fullLayout.xaxis.type === 'linear'")
    wait_for_figure(page, HAS_THREE_SELECTED)
