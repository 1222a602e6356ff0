"""Which runs to make, and what came of them: studies, spaces, samplers, stores, fronts.

    import search

    store = search.open_store("sqlite:///runs/spikefront.db")
    study = search.load_study("studies/digits.toml")
    search.run(study, store=store, workers=2)
    front = store.front("digits")
    front.to_dataframe(); front.knee.export("runs/best")

Importing this package loads nothing else; a name is loaded when it is first used, and says what
to install where `pip install spikefront` came without the part `search`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.export.folder import ExportError
    from search.front.picks import PickError
    from search.library import confirm, open_store, run
    from search.neurobench import neurobench_metrics
    from search.results import Front, Point, ResultStore, StudyComparison, Trials
    from search.store.database import StoreError
    from search.study.study import Study, StudyError, load_study, study_from_toml

_HOMES = {
    "ExportError": "search.export.folder",
    "Front": "search.results",
    "PickError": "search.front.picks",
    "Point": "search.results",
    "ResultStore": "search.results",
    "StoreError": "search.store.database",
    "Study": "search.study.study",
    "StudyComparison": "search.results",
    "StudyError": "search.study.study",
    "Trials": "search.results",
    "confirm": "search.library",
    "load_study": "search.study.study",
    "neurobench_metrics": "search.neurobench",
    "open_store": "search.library",
    "run": "search.library",
    "study_from_toml": "search.study.study",
}

__all__ = [
    "ExportError",
    "Front",
    "PickError",
    "Point",
    "ResultStore",
    "StoreError",
    "Study",
    "StudyComparison",
    "StudyError",
    "Trials",
    "confirm",
    "load_study",
    "neurobench_metrics",
    "open_store",
    "run",
    "study_from_toml",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'search' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from search.text.requirements import missing

        if (message := missing(error)) is None:
            raise
        raise ModuleNotFoundError(f"search.{name} {message}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
