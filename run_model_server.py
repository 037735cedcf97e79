"""The model server: `python run_model_server.py`. Start as many as there are processors or GPUs for them.

settings → logging → a warm model → Worker.run, until SIGTERM, SIGINT or SIGHUP drains it (exit 0). A second signal ends
it at once; a worker that dies in any way loses no job. Exit 2: a setting, a file or the weights are missing.
Exit 70: its loop has stopped. Exit 75: its model answers otherwise than at its start. After both, another start helps.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

import logutil
from imagequeue import kerasmodel
from imagequeue import model as models
from imagequeue.batchlatency import BatchLatency
from imagequeue.connections import connect, host_name, without_secrets
from imagequeue.doorbell import Doorbell
from imagequeue.errors import ConfigurationError, ModelWrong, WeightsMissing
from imagequeue.faults import Faults
from imagequeue.fleet import Fleet
from imagequeue.jobqueue import JobQueue
from imagequeue.lease import Lease, owner_name
from imagequeue.logstream import LogStream
from imagequeue.selfcheck import WRONG_EXIT_CODE, SelfCheck, images_for
from imagequeue.warmup import LONGEST_BATCH, warm_up
from imagequeue.worker import Worker
from imagequeue.workermetrics import WorkerMetrics
from settings import Settings, given_by_user, help_text, load_or_exit

DOORBELL_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# How a fleet's supervisor gives its process id to its workers.
SUPERVISOR = "IMAGEQUEUE_SUPERVISOR"


def load_model(settings: Settings) -> tuple[models.Model, int]:
    """The warm model, and the most images to give it at once."""
    logutil.log("loading", model=settings.model, weights=settings.model_weights)
    with logutil.native_output_logged("runtime"):
        model = models.load(
            settings.model,
            weights=settings.model_weights,
            labels=settings.model_labels,
            size=settings.image_size,
            preprocessing=settings.model_preprocessing,
            threads=settings.model_threads,
            runtime=settings.runtime,
            precision=settings.precision,
            calibration=settings.calibration_images,
            graphs=settings.model_cache,
        )
        model, max_batch = warm_up(model, settings.max_batch_size)
    if model.weights == "random":
        logutil.warn("random_weights", advice="the labels mean nothing; set MODEL_WEIGHTS")
    seconds = model.seconds_for(max_batch)
    if seconds > settings.lease_seconds / 2:
        logutil.warn("lease_short", lease=settings.lease_seconds, batch_takes=round(seconds, 1))
    logutil.log(
        "model_ready",
        model=model.name,
        weights=model.weights,
        runtime=model.runtime,
        runtime_is="chosen" if settings.runtime == "auto" else "set",
        precision=model.precision,
        threads=settings.model_threads,
        batch=max_batch,
        batch_is="set" if settings.max_batch_size else "measured",
        images_per_s=" ".join(f"{n}:{n / pace:.1f}" for n, pace in model.paces.items()),
    )
    return model, max_batch


def build_worker(
    settings: Settings, model: models.Model, max_batch: int, faults: Faults, metrics: WorkerMetrics
) -> Worker:
    # All waits are a part of the lease: a loop that only waits for a Redis that is silent has not stopped.
    lease = settings.lease_seconds
    bell_seconds = min(DOORBELL_SECONDS, lease / 3)

    def queue(role: str, answer_seconds: float) -> JobQueue:
        client = connect(
            settings.redis_url,
            name=f"worker:{host_name()}:{os.getpid()}:{role}",
            answer_seconds=answer_seconds,
            repeats=0 if role == "doorbell" else 1,
        )
        return JobQueue(client, settings.image_queue, result_ttl=settings.result_ttl)

    # A claim brings MAX_BATCH_SIZE documents of 200 kB, 128 at most where the size is measured; ten seconds are for a
    # slow network, not for a slow Redis.
    commands = queue("commands", min(10.0, lease * 2 / 3))
    facts: dict[str, str | int | float] = {
        "host": settings.server_name,
        "pid": os.getpid(),
        "model": model.name,
        "weights": model.weights,
        "classes": len(model.labels),
        "image_size": f"{model.size[0]}x{model.size[1]}",
        "runtime": model.runtime,
        "precision": model.precision,
        "threads": settings.model_threads,
        "max_batch": max_batch,
    }
    return Worker(
        commands,
        Doorbell(queue("doorbell", bell_seconds + min(2.0, lease / 3)).client, commands, seconds=bell_seconds),
        Lease(queue("heartbeat", min(3.0, lease / 3)), seconds=lease, facts=facts),
        model,
        BatchLatency(model, max_batch=max_batch, longest=math.inf if settings.max_batch_size else LONGEST_BATCH),
        max_crashes=settings.max_crashes,
        reap_interval=min(3.0, lease / 3),
        at=faults.at,
        on_batch=metrics.observe,
        selfcheck=SelfCheck(model, images=images_for(settings.model_threads, max_batch)),
    )


def catch(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have each signal that ends a process call this, but for a hang-up where nohup has switched it off."""
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def on_stop_signals(drain: Callable[[], None], *, supervisor: int | None = None) -> None:
    """The first SIGTERM, SIGINT or SIGHUP drains, a second one ends the process at once.

    supervisor: the process id of a fleet's supervisor, of which this is a worker. While it lives it repeats to each
    worker what systemd has sent to all of them, so a second signal says no more than the first.
    """
    signals: SimpleQueue[int] = SimpleQueue()

    def end_at_once(number: int, frame: FrameType | None) -> None:
        if os.getppid() != supervisor:
            os._exit(128 + number)

    def stop(number: int, frame: FrameType | None) -> None:
        catch(end_at_once)
        # The one thing that is safe here: the line that was interrupted may hold the lock of any event, log or queue.
        signals.put(number)

    def drain_then() -> None:
        logutil.log("draining", signal=signal.Signals(signals.get()).name)
        drain()

    threading.Thread(target=drain_then, name="stop", daemon=True).start()
    catch(stop)


def run_one(settings: Settings) -> None:
    # Nothing is held yet, and libraries that are being loaded do not let an exception through.
    catch(lambda number, frame: os._exit(0))
    faults = Faults(os.environ.get("TEST_FAULTS", ""))
    metrics = WorkerMetrics()
    model, max_batch = load_model(settings)
    worker = build_worker(settings, faults.in_model(model), max_batch, faults, metrics)
    if settings.metrics_port:
        metrics.serve(settings.metrics_host, settings.metrics_port)
    supervisor = os.environ.get(SUPERVISOR, "")
    on_stop_signals(worker.drain, supervisor=int(supervisor) if supervisor else None)
    logutil.log("serving", redis=without_secrets(settings.redis_url), queue=settings.image_queue)
    try:
        worker.run()
    except ModelWrong:
        # At once: the model's threads may be at a batch that nobody is to have, in memory that is not theirs.
        logging.shutdown()
        os._exit(WRONG_EXIT_CODE)


def run_fleet(count: int, settings: Settings) -> int:
    """`count` worker processes that share the processors, each started again when it dies; returns the exit code."""
    threads = max(1, settings.model_threads // count)
    client = connect(settings.redis_url, name=f"fleet:{host_name()}:{os.getpid()}")
    queue = JobQueue(client, settings.image_queue, result_ttl=settings.result_ttl)
    fleet = Fleet(
        [sys.executable, __file__],
        count,
        environment={
            **os.environ,
            "MODEL_THREADS": given_by_user().get("MODEL_THREADS", str(threads)),
            SUPERVISOR: str(os.getpid()),
        },
        on_death=lambda pid: queue.bury(owner_name(pid), max_crashes=settings.max_crashes),
    )
    on_stop_signals(fleet.stop)
    return fleet.run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=help_text(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="start N worker processes, and start each again when it dies"
    )
    parser.add_argument("--fetch", action="store_true", help="only download the weights, then end")
    arguments = parser.parse_args()
    if arguments.workers is not None and arguments.workers < 1:
        parser.error("--workers: at least 1")
    settings = load_or_exit()
    logutil.configure(
        server=settings.server_name,
        level=settings.log_level,
        format=settings.log_format,
        directory=settings.log_dir,
        script="run_model_server.py",
        stream=LogStream(settings.redis_url, settings.image_queue) if settings.log_redis else None,
    )
    try:
        if arguments.fetch and settings.model == "null":
            logutil.log("nothing_to_fetch", model=settings.model)
        elif arguments.fetch:
            with logutil.native_output_logged("runtime"):
                kerasmodel.fetch(settings.model, settings.model_weights)
        elif arguments.workers:
            raise SystemExit(run_fleet(arguments.workers, settings))
        else:
            run_one(settings)
    except ConfigurationError as error:
        action = "weights_missing" if isinstance(error, WeightsMissing) else "configuration"
        logutil.fail(action, reason=str(error).splitlines()[0])
        print(f"\n{error}", file=sys.stderr)  # noqa: T201 - several lines for a person, after the one for the log
        if arguments.fetch and isinstance(error, WeightsMissing):
            raise SystemExit(error.exit_of_fetch) from None
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
