"""The whole loop on one page, in this process: what Ray does with many workers, with one."""

from search.order import Foreman, Workplace
from search.trial import Outcome


def run(ledger: Foreman, workplace: Workplace) -> None:
    """Run trial after trial until the budget is spent, the space exhausted, or a stop asked for."""
    while (order := ledger.next()) is not None:
        for message in workplace.carry_out(order):
            if isinstance(message, Outcome):
                ledger.finish(order.number, message)
            else:
                ledger.record(order.number, message)
            if ledger.should_halt():
                return  # a trial in the middle goes back to waiting, see Ledger.__exit__
