"""Tables for people: columns that depend on the content."""

import dataclasses

from search.commands.tables import curves_table
from snn.settings.measurement import LayerConnectivity
from tests.search.runners.test_progress import MEASUREMENT


def test_epochs_have_regrown_and_removed_connections_only_where_there_is_rewiring() -> None:
    layer = LayerConnectivity(name="unit1", weights=100, connections=40, regrown=7, removed=11)
    rewired = dataclasses.replace(MEASUREMENT, layers=(layer,), regrown=7)
    cells = {str(column.header): list(column.cells) for column in curves_table([rewired]).columns}
    assert (cells["regrown"], cells["removed"]) == (["7"], ["11"])
    dense = {str(column.header) for column in curves_table([MEASUREMENT]).columns}
    assert dense == cells.keys() - {"regrown", "removed"}
