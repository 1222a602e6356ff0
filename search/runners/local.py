"""The loop of a run in this process; `search.runners.ray_tune` is the same with many workers."""

from contextlib import closing

from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from search.worker.job import Continuation, JobSource
from snn.settings.measurement import Measurement


def run(jobs: JobSource, context: WorkerContext) -> None:
    """Run one job after another until there are no more, or a stop is requested."""
    while (job := jobs.next()) is not None:
        with closing(context.run(job)) as messages:
            for message in messages:
                if isinstance(message, Outcome):
                    jobs.finish(job.number, message)
                elif isinstance(message, Measurement):
                    jobs.record(job.number, message)
                elif isinstance(message, Continuation):
                    jobs.resume(job.number, message)
                elif jobs.judge(job.number, message):
                    break  # stopped early
                if jobs.should_halt():
                    return  # the driver requeues the running trial
