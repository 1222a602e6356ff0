"""A second try to start a node of Ray, which waits half a minute for one and no longer."""

import traceback
from collections.abc import Callable
from typing import TypeVar

from search.text import log

LOG = log.logger("ray")
Started = TypeVar("Started")


def started(start: Callable[[], Started]) -> Started:
    """Return what `start` returns; if it raises, end the processes it has left and try once more.

    On a busy machine the files and libraries that the first try has read make the second quicker.
    """
    try:
        return start()
    except Exception as error:  # just that, where a node needs more than half a minute
        LOG.info("Ray did not start, second try: %s", error)
        _end_nodes(error)
    return start()


def _end_nodes(error: Exception) -> None:
    """End the processes of the nodes that did not start.

    Ray forgets a node whose start has failed, and leaves its processes to the end of this one:
    only the frames that raised still know it.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        end = getattr(frame.f_locals.get("self"), "kill_all_processes", None)
        if end is not None:
            end(check_alive=False, allow_graceful=True, wait=True)
