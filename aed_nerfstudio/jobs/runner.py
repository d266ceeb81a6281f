"""Many jobs of one kind: one after the other, or several at a time on Ray."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from aed_nerfstudio.bounds import RETRIES, WORKERS
from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.jobs import last_rites
from aed_nerfstudio.jobs.record import ENDED, Job, Outcome, Record

ANSWER = 5.0  # seconds that a cluster has to answer
OBJECT_STORE = 100_000_000  # bytes; jobs hand over names and counts only, pictures stay in their files


@dataclass(frozen=True)
class Workers:
    """Where jobs run.

    number: how many at a time; None: one for two processors of this machine, or for each of a cluster's. address: of a
    Ray cluster, which must see the same paths; None: Ray is started on this machine. retries: how often a job is tried
    again whose worker died; jobs whose input is bad are not. sequential: one after the other in this process, without
    Ray.
    """

    number: int | None = None
    address: str | None = None
    retries: int = 1
    sequential: bool = False

    def check(self) -> None:
        """Raises InputError for numbers that make no sense, and for a cluster that does not answer."""
        if self.number is not None:
            WORKERS.check("workers", self.number)
        RETRIES.check("retries", self.retries)
        if self.address is not None and self.address != "auto":
            _check_address(self.address)


def _check_address(address: str) -> None:
    """Raises InputError where a cluster's address is none, or nobody answers there; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if not (host and port.isascii() and port.isdecimal()):
            raise ValueError("it must be auto, HOST:PORT or ray://HOST:PORT")
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"--address {address}: cannot be reached ({error}); check it, or leave it out") from error


def run_jobs(jobs: Sequence[Job], work: Callable[..., dict], record: Record, workers: Workers) -> list[Outcome]:
    """Runs the jobs that no earlier run has done. One that fails does not stop the others.

    Args:
        jobs: what to make.
        work: a function of a module; takes a job's arguments and `progress`, whether to show any. Gives back what of
            the `Outcome` is known now, at least its `state`, also where the input is bad and trying again would not
            help; raises where it would.
        record: of these jobs; it holds what is known so far after every one that ended, and when stopped by Ctrl-C.
        workers: where they run.

    Raises:
        InputError: Ray is missing or cannot be reached, or the record cannot be written.
    """
    workers.check()
    waiting = [job for job in jobs if record.outcomes[job.name].state not in ENDED]
    try:
        if workers.sequential:
            for job in waiting:
                _here(job, work, record, workers.retries)
        elif waiting:
            _on_ray(waiting, work, record, workers)
    finally:
        record.close()
    return list(record.outcomes.values())


def _here(job: Job, work: Callable[..., dict], record: Record, retries: int) -> None:
    """Runs one job in this process."""
    start = time.monotonic()
    for attempt in range(1, retries + 2):
        try:
            outcome = work(*job.arguments, progress=record.progress)
        except Exception as error:  # whatever it is must not stop the others
            outcome = {"state": "failed", "error": reason(error)}
            if attempt <= retries:
                continue
        record.finish(job.name, seconds=time.monotonic() - start, attempts=attempt, **outcome)
        return


def _on_ray(jobs: Sequence[Job], work: Callable[..., dict], record: Record, workers: Workers) -> None:
    """Runs the jobs, as many at a time as there are workers, and begins those anew whose worker died."""
    number = workers.number
    if number is None and not workers.address:
        number = max(1, (os.cpu_count() or 1) // 2)
    with started_ray(number, workers.address) as ray:
        # Ray's own retries would not be counted.
        task = ray.remote(num_cpus=1, max_retries=0)(work)
        limit = number or max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, running, began = list(jobs), {}, {}
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    job = waiting.pop(0)
                    began.setdefault(job.name, time.monotonic())
                    record.outcomes[job.name].attempts += 1
                    running[task.remote(*job.arguments, progress=False)] = job
                for reference in ray.wait(list(running), timeout=1.0)[0]:
                    job = running.pop(reference)
                    try:
                        found = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        died = isinstance(error, ray.exceptions.WorkerCrashedError)
                        found = {"state": "failed", "error": "its worker died" if died else reason(error)}
                        if record.outcomes[job.name].attempts <= workers.retries:
                            record.say(f"{job.name}: {found['error']}; trying again")
                            waiting.insert(0, job)
                            continue
                    record.finish(job.name, seconds=time.monotonic() - began[job.name], **found)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


@contextmanager
def started_ray(workers: int | None, address: str | None) -> Iterator[Any]:
    """Yields Ray's module, connected to a cluster, or to a Ray of our own here, which nobody else can reach.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anyone
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no note about GPUs that are not asked for
    }
    if not address:
        # Whoever reaches Ray can run code: it listens on 127.0.0.1 only, by its setting for macOS and Windows, and
        # answers only who knows a word that its processes inherit.
        settings |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    ray = watch = None
    try:
        ray = _ray()
        watch = _connect(ray, workers, address)
        yield ray
    finally:
        if ray is not None:
            ray.shutdown()
        if watch is not None:
            watch.communicate()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError('Ray is not installed; run pip install "aed-nerfstudio[ray]", or give --sequential to do one '
                         "after the other without it") from error  # fmt: skip
    return ray


@cache
def _token() -> str:
    """Returns the word that this process's own Rays answer to."""
    return secrets.token_hex(32)


def _connect(ray: Any, workers: int | None, address: str | None) -> subprocess.Popen | None:
    """Connects; where Ray is started for this, also starts what ends its processes should this one be killed."""
    import psutil  # a dependency of viser's

    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    others = set(psutil.Process().children())
    try:
        if address:
            ray.init(address=address, **quiet)
            return None
        # "local": never a cluster that happens to run here. Its memory is small, because nothing large goes there.
        ray.init("local", num_cpus=workers, object_store_memory=OBJECT_STORE, include_dashboard=False, **quiet)
    except Exception as error:  # Ray's own are of many kinds, that of a start which takes too long a bare Exception
        place = f"the cluster {address}" if address else "Ray on this machine"
        raise InputError(f"cannot reach {place} ({reason(error)}); check --address, or give --sequential") from error
    if not ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback:
        raise InputError("Ray was used here before and listens to the network; run the jobs in a program of their own")
    started = set(psutil.Process().children()) - others
    return last_rites.begin([*started, *(child for process in started for child in process.children(recursive=True))])
