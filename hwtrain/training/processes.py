"""Trials in worker processes: starting them, hearing from them, and stopping them with the parent."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

import torch

from hwtrain.errors import RunError
from hwtrain.training.trial import Outcome, Spec, Stopped

Train = Callable[[Spec, Callable[[int], None], Callable[[], bool]], Outcome]
"""Trains one trial; tells the samples done, and asks whether to stop. Sent to every worker."""


def in_processes(
    train: Train, planned: list[Spec], workers: int, hear: Callable[[str, int], None], stop: threading.Event
) -> Iterator[Outcome]:
    """The trials as they end; ``hear`` is told (trial, samples done)."""
    context = get_context("spawn")  # the one start method that every system has
    asked, heard = context.Event(), context.Queue()
    pool = ProcessPoolExecutor(
        min(workers, len(planned)), context, initializer=_begin_worker, initargs=(train, asked, heard)
    )
    with pool:
        try:
            with _ctrl_c_blocked():
                waiting = {pool.submit(_train_in_worker, spec) for spec in planned}
            while waiting:
                done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                if stop.is_set():
                    asked.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                while not heard.empty():
                    hear(*heard.get())
                for future in done:
                    if future.cancelled():
                        raise Stopped("stopped before all had begun: go on with resume, if it has a folder")
                    yield future.result()
        except BrokenProcessPool:
            if stop.is_set():
                raise Stopped("stopped with its workers: go on with resume, if it has a folder") from None
            raise RunError(
                "a worker process ended before its trial, as when memory runs out: go on with --resume "
                "and fewer --workers; a script that trains needs `if __name__ == '__main__':`"
            ) from None
        finally:  # whatever it was, the other workers need not train to the end
            asked.set()
            pool.shutdown(wait=False, cancel_futures=True)


_worker: tuple[Train, Any, Any]
"""What this worker process was started with."""


def _begin_worker(train: Train, asked: Any, heard: Any) -> None:
    global _worker
    _worker = (train, asked, heard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which asks us to stop
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Should the parent be killed, whoever resumes the run must not find us writing to it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_in_worker(spec: Spec) -> Outcome:
    train, asked, heard = _worker
    return train(spec, lambda done: heard.put((spec.name, done)), asked.is_set)


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Workers that start inside inherit this, and so outlive a Ctrl-C before they can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, so that training stops after its checkpoint."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals belong to the main thread; a notebook's worker thread has none
        return
    before = {
        number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
