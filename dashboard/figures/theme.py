"""Colours and type of the figures.

`.streamlit/config.toml` beside the app says the same to Streamlit, which reads it whoever
starts the app; a test holds the two together. The typeface is the one that comes with
Streamlit, so that a page asks no other host for anything.
"""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["light", "dark"]


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of one mode. Categories and ramp hold up under colour blindness."""

    background: str
    surface: str  # behind inputs and code
    border: str
    grid: str
    text: str
    muted: str
    faded: str  # points that are context
    accent: str  # the front's line, the knee, what was chosen
    categories: tuple[str, ...]  # Okabe and Ito, without the accent's hue
    ramp: tuple[str, ...]  # low to high; lightness alone tells the order


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
