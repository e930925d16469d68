"""Worker processes, each on a core of its own, that take blocks as JPEG and give detections."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.bench.tiled import tiled_detect
from re_pose_ros.detection.model import Model, load_model
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block
from re_pose_ros.image_codec import decode_compressed
from re_pose_ros.plan import Variant

LIMIT_S = 300.0
"""A worker that says nothing for so long is given up."""
Clock = Literal["wall", "cpu"]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
_SIZES = range(32, 8193, 32)  # a bench asks for any input size that networks take


@dataclass(frozen=True, slots=True)
class Detector:
    """What every worker loads, and what it needs for jobs that cut images by themselves.

    Attributes:
        weights: as for ``detection.model.load_model``; every method may use it.
        others: more of them, for planners to choose from and for methods that name them.
        confidence: least confidence of a detection.
        tile_size: side of a tile in pixels, also the network's input for it.
        overlap: share of a tile that its neighbour sees too.
        clock: what block times are taken by: ``wall``, or ``cpu``, the process's processor time,
            which on a core that other programs use too comes nearer to that of an idle one.
        load: what loads the weights; importable, and called as ``load_model`` is.

    Raises InputError for another clock.
    """

    weights: str = "scene-n"
    confidence: float = 0.05
    tile_size: int = 640
    overlap: float = 0.2
    clock: Clock = "wall"
    load: Callable[..., Model] = load_model
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise InputError(f"clock '{self.clock}' is none of {', '.join(CLOCKS)}")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A block for a worker.

    Attributes:
        data: the block as JPEG.
        roi: what the image shows, in frame pixels.
        variant: the network asked for.
        job: what to do with it: ``detect``, ``sahi``, ``sahi_greedynmm`` or ``ultralytics_tile``.
        rehearsed: do it once untimed before, where the worker has had none of its size: networks
            prepare themselves for every size of input.
    """

    data: bytes | memoryview
    roi: Block
    variant: Variant | None = None
    job: str = "detect"
    rehearsed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a worker found, in frame pixels, and how long it took.

    Attributes:
        detections: in frame pixels.
        decode_ms: by the detector's clock.
        detect_ms: ditto, all but decoding.
        held_up: wall over processor time of both; 1 on a core that nobody else uses.
    """

    detections: Detections
    decode_ms: float
    detect_ms: float
    held_up: float


@dataclass(frozen=True, slots=True)
class Offer:
    """What the workers' networks are.

    Attributes:
        paths: their weights by name, the first that of most methods; None where one was loaded from
            no file.
        labels: class names by class id.
        device: where they run.
    """

    paths: Mapping[str, Path | None]
    labels: tuple[str, ...]
    device: str

    @property
    def models(self) -> tuple[str, ...]:
        """The networks' names."""
        return tuple(self.paths)

    @property
    def model(self) -> str:
        """The first of them."""
        return self.models[0]


@dataclass(frozen=True, slots=True)
class _Peer:
    """One worker as seen from here."""

    process: BaseProcess
    link: Connection


class Pool:
    """Worker processes with one thread and one core each; a context manager.

    Attributes:
        cores: the core of each worker.
        offer: their networks.
    """

    def __init__(self, detector: Detector, workers: int) -> None:
        """Start as many as there are cores for, but at most ``workers``, at least one.

        Raises:
            InputError: the network cannot be loaded, or a worker ends.
        """
        self.cores = tuple(sorted(os.sched_getaffinity(0))[: max(1, workers)])
        self._peers: list[_Peer] = []
        context = multiprocessing.get_context("spawn")
        try:
            for core in self.cores:
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, detector, core), daemon=True)
                process.start()
                theirs.close()
                self._peers.append(_Peer(process, ours))
            offers = [self._receive([k])[1] for k in range(len(self.cores))]
        except BaseException:
            self.close()
            raise
        self.offer: Offer = offers[0]

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; those that do not, by force."""
        for peer in self._peers:
            peer.link.close()
        for peer in self._peers:
            peer.process.join(timeout=2.0)
            if peer.process.is_alive():
                peer.process.terminate()
                peer.process.join()

    def run(self, tasks: Sequence[tuple[int, Task]]) -> list[Answer]:
        """Have tasks done at once, each by the worker of its number; answers in their order.

        Raises:
            InputError: a worker ended, failed, or said nothing for a long time.
        """
        for number, task in tasks:
            self._send(number, task)
        order: dict[int, list[int]] = {}
        for index, (number, _) in enumerate(tasks):
            order.setdefault(number, []).append(index)
        answers: dict[int, Answer] = {}
        while len(answers) < len(tasks):
            busy = [number for number, left in order.items() if left]
            number, answer = self._receive(busy)
            answers[order[number].pop(0)] = answer
        return [answers[index] for index in range(len(tasks))]

    def _send(self, number: int, task: Task) -> None:
        try:
            self._peers[number].link.send(replace(task, data=bytes(task.data)))
        except OSError as error:
            raise self._ended(number) from error

    def _receive(self, numbers: Sequence[int]) -> tuple[int, Any]:
        """The next message of any of these workers."""
        links = {id(self._peers[number].link): number for number in numbers}
        ready = wait([self._peers[number].link for number in numbers], timeout=LIMIT_S)
        if not ready:
            raise InputError(
                f"the bench's workers gave no answer for {LIMIT_S:.0f} s; use a smaller model"
            )
        number = links[id(ready[0])]
        try:
            message = self._peers[number].link.recv()
        except (EOFError, OSError) as error:
            raise self._ended(number) from error
        if isinstance(message, InputError):
            raise message
        return number, message

    def _ended(self, number: int) -> InputError:
        process = self._peers[number].process
        process.join(timeout=2.0)
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return InputError(
            f"worker {number} of the bench (core {self.cores[number]}) ended: {how}; "
            f"is there enough memory for {len(self.cores)} networks?"
        )


def _serve(link: Connection, detector: Detector, core: int) -> None:
    """A worker's life: load, tell what it has, answer tasks until the other end closes."""
    os.sched_setaffinity(0, {core})
    os.environ["OMP_NUM_THREADS"] = "1"  # of other runtimes than torch
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench decides
    with suppress(BrokenPipeError):
        try:
            models = [
                detector.load(weights, confidence=detector.confidence, threads=1)
                for weights in (detector.weights, *detector.others)
            ]
            jobs = _Jobs(models, detector)
            link.send(jobs.offer)
            for task in _received(link):
                link.send(jobs.answer(task))
        except InputError as error:
            link.send(error)
        except Exception as error:  # whatever a runtime raises ends the bench with one line
            text = " ".join(str(error).split())[:200]
            link.send(InputError(f"a worker of the bench failed: {type(error).__name__}: {text}"))


def _received(link: Connection) -> Any:
    """Tasks as they come; taken from the link at once, so that the sender never waits."""
    waiting: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def take() -> None:
        with suppress(EOFError, OSError):
            while True:
                waiting.put(link.recv())
        waiting.put(None)

    threading.Thread(target=take, daemon=True).start()
    return iter(waiting.get, None)


class _Stopwatch:
    """Times a block of code by both clocks; a context manager."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> None:
        self._begin = {name: clock() for name, clock in CLOCKS.items()}

    def __exit__(self, *_: object) -> None:
        passed = {name: clock() - self._begin[name] for name, clock in CLOCKS.items()}
        self.wall_s, self.cpu_s = passed["wall"], passed["cpu"]

    @property
    def ms(self) -> float:
        return 1e3 * (self.wall_s if self._clock == "wall" else self.cpu_s)


class _Jobs:
    """What a worker can do with an image; set up when it is first asked for."""

    def __init__(self, models: Sequence[Model], detector: Detector) -> None:
        """Raises InputError where the models do not fit together."""
        self._model = models[0]
        self._detector = detector
        self._clock = detector.clock
        self._worker = Worker(models, _SIZES)
        self._ready: dict[str, Callable[[NDArray[np.uint8]], Detections]] = {}
        self._seen: set[tuple[str, tuple[int, ...], Variant | None]] = set()

    @property
    def offer(self) -> Offer:
        paths = {model.name: model.path for model in self._worker.models}
        return Offer(paths, self._worker.labels, self._worker.device)

    def answer(self, task: Task) -> Answer:
        if task.job != "detect" and task.job not in self._ready:
            self._ready[task.job] = self._prepared(task.job)
        decode, detect = _Stopwatch(self._clock), _Stopwatch(self._clock)
        with decode:
            image = decode_compressed(task.data)
        seen = (task.job, image.shape, task.variant)
        if task.rehearsed and seen not in self._seen:
            self._found(task, image)
        self._seen.add(seen)
        with detect:
            found = self._found(task, image)
        wall, cpu = decode.wall_s + detect.wall_s, decode.cpu_s + detect.cpu_s
        return Answer(found, decode.ms, detect.ms, wall / max(cpu, 1e-9))

    def _found(self, task: Task, image: NDArray[np.uint8]) -> Detections:
        if task.job != "detect":
            return self._ready[task.job](image)
        (found,), _ = self._worker.process([Request(image, task.roi, task.variant)])
        return found

    def _prepared(self, job: str) -> Callable[[NDArray[np.uint8]], Detections]:
        detector = self._detector
        if job == "ultralytics_tile":
            return tiled_detect(detector.weights, detector.confidence, detector.tile_size)
        from re_pose_ros.bench.sahi_model import SahiSettings, sahi_detect

        settings = SahiSettings(
            detector.tile_size, detector.overlap, detector.confidence, job == "sahi_greedynmm"
        )
        return sahi_detect(self._model, settings)
