"""The whole loop on one page, in this process: what Ray does with many workers, with one."""

from contextlib import closing

from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from search.worker.job import JobSource
from snn.settings.measurement import Measurement


def run(ledger: JobSource, workplace: WorkerContext) -> None:
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
