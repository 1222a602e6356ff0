"""What scripts and notebooks call: open a store, run a study, confirm its front.

The same functions are behind the commands of `spikefront`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands.options import DEFAULT_ARTIFACTS, usual_data, usual_store
from search.results import ResultStore

if TYPE_CHECKING:
    from search.runners.confirm import ConfirmReport
    from search.runners.progress import Progress
    from search.runners.run import RunReport
    from search.store.store import Store
    from search.study.study import Study


def open_store(url: str | None = None, *, read_only: bool = False) -> ResultStore:
    """Open a store of results; it is a context manager.

    `url` is `sqlite:///FILE` or `postgresql://...` (default: $SPIKEFRONT_STORE, otherwise
    sqlite:///runs/spikefront.db). It is created, or brought up to date, unless `read_only`.
    Raises StoreError in one line.
    """
    return ResultStore(url or usual_store(), read_only=read_only)


def run(
    study: Study,
    *,
    store: Store | None = None,
    workers: int | None = None,
    artifacts: Path | str = DEFAULT_ARTIFACTS,
    data: Path | str | None = None,
    device: str | None = None,
    ray_address: str | None = None,
    progress: Progress | None = None,
    quiet: bool = False,
) -> RunReport:
    """Search the space of a study until its budget is spent, or continue it.

    Trials run on `workers` Ray workers (default: those of the study); 0 runs them in this
    process. Weights are saved in `artifacts`, a folder or a URI that pyarrow opens; `data` is
    the folder of data sets (default: $SPIKEFRONT_DATA, otherwise data/). Progress is shown on
    stderr or in the notebook's cell, unless `quiet` or `progress` says otherwise. Ctrl-C raises
    KeyboardInterrupt; the same call continues. Raises StudyError, StoreError or DataError.
    """
    from search.commands.run import check_datasets, check_packages
    from search.runners.display import watch
    from search.runners.run import run_study

    data_dir = Path(usual_data() if data is None else data)
    check_packages(
        workers=study.budget.workers if workers is None else workers,
        is_own=study.train is not None,
    )
    check_datasets(study, data_dir)
    with _opened(store) as place, watch(quiet=quiet or progress is not None) as shown:
        return run_study(
            study,
            store=place,
            artifacts=artifacts,
            data_dir=data_dir,
            workers=workers,
            ray_address=ray_address,
            device=device,
            progress=progress or shown,
        )


def confirm(
    study: str | Study,
    *,
    seeds: int = 3,
    picks: Sequence[str] = (),
    store: Store | None = None,
    workers: int | None = None,
    artifacts: Path | str = DEFAULT_ARTIFACTS,
    data: Path | str | None = None,
    device: str | None = None,
    ray_address: str | None = None,
    progress: Progress | None = None,
    quiet: bool = False,
) -> ConfirmReport:
    """Train members of a front again with `seeds` fresh seeds and run them on the test images.

    `picks` name members, as in `Front.pick`; without any it is all of them. The other arguments
    are those of `run`. Raises PickError, StoreError or DataError.
    """
    from search.commands.run import check_datasets, check_packages
    from search.runners.confirm import confirm_study, stored_with_code
    from search.runners.display import watch

    data_dir = Path(usual_data() if data is None else data)
    with _opened(store) as place, watch(quiet=quiet or progress is not None) as shown:
        asked = stored_with_code(place, study) if isinstance(study, str) else study
        check_packages(
            workers=asked.budget.workers if workers is None else workers,
            is_own=asked.train is not None,
        )
        check_datasets(asked, data_dir)
        return confirm_study(
            asked,
            store=place,
            artifacts=artifacts,
            data_dir=data_dir,
            seeds=seeds,
            picks=picks,
            workers=workers,
            ray_address=ray_address,
            device=device,
            progress=progress or shown,
        )


class _Lent:
    """A store of the caller, which stays open."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *error: object) -> None:
        """Do nothing."""


def _opened(store: Store | None) -> _Lent | ResultStore:
    """Return the given store, or the usual one, which is closed afterwards."""
    return open_store() if store is None else _Lent(store)


__all__ = ["confirm", "open_store", "run"]
