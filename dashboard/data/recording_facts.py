"""What a data set of recordings is like, as short facts for a page."""

from typing import TYPE_CHECKING

from dashboard.data import formats

if TYPE_CHECKING:  # it loads the readers
    from snn.data.events.report import Report


def recording_facts(report: "Report") -> list[tuple[str, str, str]]:
    """Return label, value and meaning of each figure of a report."""
    training, test = report.recordings
    fewest, median, most = report.events
    shortest, usual, longest = (_ms(value) for value in report.length_ms)
    step = "no fixed length" if report.step_ms is None else _ms(report.step_ms)
    facts = [
        ("Training recordings", f"{training:,}", "Those for validation included."),
        ("Test recordings", f"{test:,}", "Only `spikefront confirm` and `evaluate` use them."),
        ("Of a class", _span(report.fewest, report.most), "Training recordings of one class."),
        ("Events", f"{median:,}", f"Of a recording: median of {fewest:,} to {most:,}."),
        ("Last event", usual, f"After the start: median of {shortest} to {longest}."),
        ("Bin", step, "Length of one timestep of the input."),
        ("After the clip", _share(report.cut_share), "Events that are cut off."),
        ("Padded", _share(report.padded_share), "Of the clip, after the last event."),
        ("Empty bins", _share(report.empty_bins), "Timesteps without any event."),
        (
            "Lost if binary",
            _share(report.merged_share),
            "Events that share an input and a bin with an earlier one: lost with `event_value` "
            "'binary'.",
        ),
    ]
    if report.unsorted:
        facts.append(("Unsorted", f"{report.unsorted:,}", "Recordings not in the order of time."))
    if report.outside:
        facts.append(("Outside", f"{report.outside:,}", "Events outside of the sensor: dropped."))
    return facts


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _ms(value: float) -> str:
    return f"{value:.4g}\u202fms"


def _share(value: float) -> str:
    return formats.quantity("accuracy", value)
