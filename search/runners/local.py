"""The whole loop on one page, in this process: what Ray does with many workers, with one."""

from contextlib import closing

from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from search.worker.job import JobSource
from snn.settings.measurement import Measurement


def run(jobs: JobSource, context: WorkerContext) -> None:
    """Run trial after trial until the budget is spent, the space exhausted, or a stop asked for."""
    while (job := jobs.next()) is not None:
        with closing(context.run(job)) as messages:
            for message in messages:
                if isinstance(message, Outcome):
                    jobs.finish(job.number, message)
                elif isinstance(message, Measurement):
                    jobs.record(job.number, message)
                elif jobs.judge(job.number, message):
                    break  # stopped early
                if jobs.should_halt():
                    return  # a trial in the middle goes back to waiting, see Ledger.__exit__
