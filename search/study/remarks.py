"""Remarks on a study that is valid, but probably not what was meant."""

from collections.abc import Iterator

from search.study.study import Study
from snn.settings.datasets import is_recorded
from snn.settings.rule_conflicts import FINAL_RULES

WHY = {
    "dsr": "learns from mean rates: the order of the events within a clip has no gradient",
    "saf-f": "learns from one sum of the spikes of a clip, in which late timesteps weigh most: "
    "their order has no other gradient",
    "membrane-trace": "learns from one weighted mean of the spikes of a clip: their order has no "
    "other gradient",
}
assert WHY.keys() == set(FINAL_RULES)


def values_of(study: Study, name: str) -> tuple[object, ...]:
    """Return the values of a setting in the study's space, as far as they are listed."""
    axis = study.space.axes.get(name)
    if axis is None:
        return (study.run[name],) if name in study.run else ()
    return tuple(getattr(axis, "values", ()))


def remarks(study: Study, datasets: list[str]) -> Iterator[str]:
    """Yield a line for each learning rule or augmentation that does not suit recordings."""
    recorded = [name for name in datasets if is_recorded(name)]
    if not recorded or study.train is not None:
        return
    for rule, why in WHY.items():
        if rule in values_of(study, "time_rule"):
            yield (
                f"time_rule {rule!r} on {', '.join(recorded)}: it {why}. Where order in time "
                "decides, use 'bptt', or 'ottt-a' or 'saf-e', which learn at every timestep"
            )
    if "crop-flip" in values_of(study, "augmentation"):
        yield (
            f"augmentation 'crop-flip' on {', '.join(recorded)}: it mirrors half of the "
            "recordings, which is wrong where left and right, or the row's two ends, differ; "
            "'shift' does not"
        )
