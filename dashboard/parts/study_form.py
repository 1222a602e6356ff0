"""The form that makes a study file; a fault is shown at its field."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dashboard.data import formats
from dashboard.data.study_draft import FIRST_AXES, RANGES, SHARED, Draft, Reading, read
from search.study.tables import BUDGET_SETTINGS, SEARCH_SETTINGS
from snn.settings.config import SETTINGS, RunConfig
from snn.settings.measurement import METRICS

BUDGET = {"trials": "24", "hours": "", "epochs": "", "workers": "1", "cpus_per_trial": "1"}
DEFAULTS = {"dataset": "digits", "backbone": "resnet7", "epochs": "10", "loss": "each-step"}
LABELS = {"cpus_per_trial": "CPUs per trial"}
MOST_OBJECTIVES = 5


def form() -> tuple[Draft, Reading]:
    """Draw the form; return its values and the study that they make."""
    places: list[tuple[Any, tuple[str, ...]]] = []  # containers for the faults of these keys

    def faults_of(*keys: str) -> None:
        places.append((st.container(), keys))

    left, right = st.columns([1, 2], gap="medium")
    with left:
        name = st.text_input("Name", "my-study", key="form-name", max_chars=120)
        faults_of("name")
    with right:
        question = st.text_input(
            "Question", key="form-question", placeholder="What should this study find out?"
        )
    objectives = st.multiselect(
        "Objectives",
        list(METRICS),
        ["accuracy", "synaptic_ops"],
        key="form-objectives",
        format_func=formats.label,
        max_selections=MOST_OBJECTIVES,
        help="Metrics to optimise. Each has a fixed direction.",
    )
    faults_of("objectives")
    constraints = _constraints(faults_of)
    st.markdown("**Settings of every trial**")
    axes_chosen = st.session_state.get("form-axes", list(FIRST_AXES))
    run = _run(axes_chosen, faults_of)
    st.markdown("**Search space**")
    axes = _axes(faults_of)
    st.markdown("**Budget and search**")
    budget = _texts("budget", BUDGET, faults_of)
    search = _search(faults_of)
    draft = Draft(
        name=name,
        question=question,
        objectives=objectives,
        constraints=constraints,
        budget=budget,
        run=run,
        axes=axes,
        search=search,
    )
    reading = read(draft.text(), f"{name}.toml")
    for container, keys in places:
        with container:
            show_faults(reading.at(*keys))
    show_faults(reading.elsewhere(*(key for _, keys in places for key in keys)))
    return draft, reading


def show_faults(faults: Sequence[str]) -> None:
    """Show one line per fault."""
    for fault in faults:
        st.error(formats.verbatim(fault), icon=":material/error:")


def _constraints(faults_of: Callable[..., None]) -> dict[str, dict[str, str]]:
    chosen = st.multiselect(
        "Constraints",
        list(METRICS),
        key="form-constraints",
        format_func=formats.label_with_unit,
        help="Points that violate a constraint are excluded from the Pareto front and reported to "
        "the sampler as infeasible.",
    )
    found = {}
    for metric in chosen:
        left, middle, right = st.columns([2, 1, 1], vertical_alignment="bottom")
        left.text(formats.label_with_unit(metric))
        with middle:
            low = st.text_input("at least", key=f"form-min-{metric}")
        with right:
            high = st.text_input("at most", key=f"form-max-{metric}")
        found[metric] = {"min": low, "max": high}
        faults_of(f"constraints.{metric}")
    return found


def _run(axes: Sequence[str], faults_of: Callable[..., None]) -> dict[str, str | bool]:
    shown = [name for name in SHARED if name not in axes]
    more = st.multiselect(
        "Further settings",
        [name for name in SETTINGS if name not in SHARED and name not in axes],
        key="form-more",
        format_func=formats.label,
        help="All other settings have their default values.",
    )
    found: dict[str, str | bool] = {}
    names = [*shown, *more]
    for start in range(0, len(names), 4):
        for column, name in zip(st.columns(4), names[start : start + 4], strict=False):
            with column:
                found[name] = _value(name)
                faults_of(f"run.{name}")
    return found


def _value(name: str) -> str | bool:
    """Draw the field of one setting; return its value."""
    setting = SETTINGS[name]
    default = DEFAULTS.get(name, str(getattr(RunConfig(), name)))
    label, key = formats.label(name), f"form-run-{name}"
    meaning = formats.meaning(name) or None
    if setting.kind == "choice":
        choices = list(setting.choices)
        return str(st.selectbox(label, choices, choices.index(default), key=key, help=meaning))
    if setting.kind == "flag":
        return bool(st.toggle(label, default == "True", key=key, help=meaning))
    if setting.kind == "reals" or default in ("None", "()"):
        default = ""
    return str(st.text_input(label, default, key=key, help=meaning))


def _axes(faults_of: Callable[..., None]) -> dict[str, dict[str, object]]:
    chosen = st.multiselect(
        "Search parameters",
        list(SETTINGS),
        list(FIRST_AXES),
        key="form-axes",
        format_func=formats.label,
        help="Settings that the sampler chooses.",
    )
    found = {}
    for name in chosen:
        with st.container(border=True):
            found[name] = _axis(name)
            faults_of(f"space.{name}")
    return found


def _axis(name: str) -> dict[str, object]:
    setting = SETTINGS[name]
    given = RANGES.get(name, {})
    meaning = formats.meaning(name) or None
    if setting.kind == "choice":
        choices = list(setting.choices)
        values = st.multiselect(
            formats.label(name), choices, choices[:2], key=f"form-values-{name}", help=meaning
        )
        return {"values": values}
    head, *rest = st.columns([2, 1, 1, 1, 1], vertical_alignment="bottom")
    with head:
        st.markdown(f"**{formats.verbatim(formats.label(name))}**", help=meaning)
    if name == "partition":
        with rest[0]:
            most = st.text_input(
                "blocks, at most", given.get("max_blocks", ""), key="form-max-blocks"
            )
        with rest[1]:
            least = st.text_input("blocks, at least", key="form-min-blocks")
        return {"max_blocks": most, "min_blocks": least}
    found: dict[str, object] = {}
    for column, (part, label) in zip(
        rest, (("low", "from"), ("high", "to"), ("step", "step")), strict=False
    ):
        with column:
            key = f"form-{part}-{name}"
            found[part] = st.text_input(label, given.get(part, ""), key=key)
    with rest[3]:
        is_log = st.toggle("log", given.get("log") == "true", key=f"form-log-{name}")
    return {**found, **({"log": "true"} if is_log else {})}


def _texts(table: str, defaults: dict[str, str], faults_of: Callable[..., None]) -> dict[str, str]:
    found = {}
    for column, (name, default) in zip(st.columns(len(defaults)), defaults.items(), strict=True):
        with column:
            found[name] = st.text_input(
                LABELS.get(name) or formats.label(name),
                default,
                key=f"form-{table}-{name}",
                help=BUDGET_SETTINGS[name].meaning,
            )
            faults_of(f"{table}.{name}")
    return found


def _search(faults_of: Callable[..., None]) -> dict[str, str]:
    names = ("sampler", "stopping")
    first = {"sampler": "tpe", "stopping": "none"}
    found = {}
    for column, name in zip(st.columns(4), names, strict=False):
        with column:
            choices = list(SEARCH_SETTINGS[name].choices)
            place = choices.index(first[name]) if first[name] in choices else 0
            found[name] = str(
                st.selectbox(
                    formats.label(name),
                    choices,
                    place,
                    key=f"form-search-{name}",
                    help=SEARCH_SETTINGS[name].meaning,
                )
            )
            faults_of(f"search.{name}")
    return found
