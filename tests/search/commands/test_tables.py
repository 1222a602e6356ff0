"""Tables for people: what is in them when there is something to say."""

import dataclasses

from search.commands.tables import curves_table
from snn.settings.measurement import LayerConnectivity
from tests.search.runners.test_progress import MEASUREMENT


def test_epochs_say_what_came_and_went_where_connections_do() -> None:
    layer = LayerConnectivity(name="unit1", weights=100, connections=40, regrown=7, removed=11)
    rewired = dataclasses.replace(MEASUREMENT, layers=(layer,), regrown=7)
    cells = {str(column.header): list(column.cells) for column in curves_table([rewired]).columns}
    assert (cells["regrown"], cells["removed"]) == (["7"], ["11"])
    dense = {str(column.header) for column in curves_table([MEASUREMENT]).columns}
    assert dense == cells.keys() - {"regrown", "removed"}
