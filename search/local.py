"""The whole loop on one page, in this process: what Ray does with many workers, with one."""

from contextlib import closing

from search.order import Foreman, Workplace
from search.trial import Outcome
from snn.measurement import Measurement


def run(ledger: Foreman, workplace: Workplace) -> None:
    """Run trial after trial until the budget is spent, the space exhausted, or a stop asked for."""
    while (order := ledger.next()) is not None:
        with closing(workplace.carry_out(order)) as messages:
            for message in messages:
                if isinstance(message, Outcome):
                    ledger.finish(order.number, message)
                elif isinstance(message, Measurement):
                    ledger.record(order.number, message)
                elif ledger.judge(order.number, message):
                    break  # stopped early
                if ledger.should_halt():
                    return  # a trial in the middle goes back to waiting, see Ledger.__exit__
