"""How the time, polarities and pixels of recordings are cut."""

import dataclasses
from dataclasses import dataclass

from snn.settings.setting import Setting, choice, integer, real

RECORDED = {"encoding": ("events", "delta")}


@dataclass(frozen=True, kw_only=True)
class RecordingSettings:
    """How the time, polarities and pixels of recordings are cut."""

    binning: str = choice(
        "",
        ("window", "whole", "count"),
        "bins of a recording, one for each timestep: equal parts of clip_ms (window, the "
        "default), equal parts of the time from its first to its last event (whole), or equal "
        "numbers of events (count); only window is causal",
        without="",
        only_with=RECORDED,
    )
    clip_ms: float = real(
        0.0,
        "time of each recording that is used, from its start, milliseconds; 0 = as the data set "
        "says. With binning window a timestep is clip_ms / timesteps",
        low=0,
        high=4e6,
        without=0.0,
        only_with=RECORDED,
    )
    event_value: str = choice(
        "",
        ("binary", "counts"),
        "input of a bin: a spike where there is any event (binary, the default), or their number, "
        "at most 255 (counts)",
        without="",
        only_with=RECORDED,
    )
    polarity: str = choice(
        "",
        ("two", "merged", "signed"),
        "polarities of a camera: OFF and ON as two channels (two, the default), as one (merged), "
        "or one with the sign of ON - OFF (signed)",
        without="",
        only_with=RECORDED,
    )
    shrink: int = integer(
        1,
        "side of the windows of pixels that become one input",
        low=1,
        high=64,
        without=1,
        only_with=RECORDED,
    )
    delta_threshold: float = real(
        0.0,
        "change of a value that makes an event, in standard deviations of the training part; "
        "0 = 0.25",
        low=0,
        high=1000,
        without=0.0,
        only_with={"encoding": ("delta",)},
    )
    validation_group: str = dataclasses.field(
        default="",
        metadata={
            "setting": Setting(
                kind="text",
                meaning="group of the training recordings, such as a speaker or a session, that "
                "is the validation part; empty = drawn by validation_fraction, by whole groups "
                "where an own data set declares groups",
                without="",
                only_with=RECORDED,
            )
        },
    )
