"""Colours and font of the figures.

`.streamlit/config.toml` has the same colours for Streamlit; a test compares them. The font comes
with Streamlit, so that a page needs no other host.
"""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["light", "dark"]


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of one mode; categories and ramp are safe for colour blindness."""

    background: str
    surface: str  # background of inputs and code
    border: str
    grid: str
    text: str
    muted: str
    faded: str  # points that are not on the front
    accent: str  # line of the front, knee, selection
    categories: tuple[str, ...]  # Okabe and Ito, without the accent's hue
    ramp: tuple[str, ...]  # low to high, ordered by lightness


PALETTES: dict[Mode, Palette] = {
    "light": Palette(
        background="#ffffff",
        surface="#f4f6f8",
        border="#dfe4ea",
        grid="#e9edf1",
        text="#1b2430",
        muted="#5d6b7c",
        faded="#8d9bab",
        accent="#c2410c",
        categories=(
            "#0072b2",
            "#e69f00",
            "#009e73",
            "#cc79a7",
            "#56b4e9",
            "#7d6b00",
            "#8b5e3c",
            "#77818d",
        ),
        ramp=("#b4d3e6", "#73aecf", "#3585b0", "#155a86", "#0b2f50"),
    ),
    "dark": Palette(
        background="#10151c",
        surface="#1a222c",
        border="#2c3743",
        grid="#232d38",
        text="#e6ebf1",
        muted="#9aa8b8",
        faded="#6f7e8f",
        accent="#ff8a57",
        categories=(
            "#4ba3dc",
            "#f0b429",
            "#2fc19a",
            "#dd96bd",
            "#a5d8f5",
            "#c2b24a",
            "#bd8f6c",
            "#9aa5b1",
        ),
        ramp=("#24567c", "#3381ad", "#62aad0", "#a3d0e8", "#e8f5fc"),
    ),
}

FONT = '"Source Sans", "Source Sans 3", "Helvetica Neue", Arial, sans-serif'
