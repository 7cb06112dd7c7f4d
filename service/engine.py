"""Pictures in, answers out: decode, one forward per bank, the maps of all classes asked for, encoded.

This is all that the model worker computes, free of queues and HTTP, so that it can be tested and timed in process. A
picture that cannot be used, or fails on its own, gets its own problem and never harms the rest of its batch.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.errors import JobsError
from jobs.pictures import PictureError, read_picture
from jobs.settings import Settings
from models.backbone import Backbone, Features
from models.bank import Bank
from models.errors import ModelsError
from models.geometry import Placement, Preprocessing, place, prepare
from service.answers import Answer, compose
from service.arrays import arrays
from service.banks import Banks
from service.maps import Explanation, Pair, explain
from service.options import MaskOptions
from service.problems import Problem, from_jobs_error, from_models_error
from service.schemas import PictureAnswer

log = structlog.get_logger(__name__)

BANKS_KEPT = 4
"""Banks whose networks are held in memory at a time; the one used longest ago makes room."""
PAIRS_AT_ONCE = 16
"""(picture, class) pairs whose maps are computed together, which bounds memory where many classes are asked for."""
MAX_MAP_BYTES = 128 * 2**20
"""Most bytes of maps one picture may be answered with, before compression."""

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class PictureTask:
    """One picture to explain.

    Attributes:
        content: the file as uploaded, or uint8 [3, s, s], the pixels of the network's input.
        index: position in its request.
        name: the name it was sent under.
        options: what to compute.
    """

    content: bytes | NDArray[np.uint8]
    index: int
    name: str | None
    options: MaskOptions

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.nbytes


@dataclass(frozen=True)
class _Prepared:
    """A picture that was decoded, and the input pixels uint8 [3, s, s] made of it."""

    task: PictureTask
    pixels: Tensor
    source: Placement
    target: Placement
    answer: PictureAnswer


class Engine:
    """Banks with their networks, ready to answer.

    Attributes:
        seconds: how long each stage of the latest batch took: decode, forward, maps, encode.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.banks = Banks(settings.banks_dir, settings.default_bank)
        self.seconds: dict[str, float] = {}
        self._loaded: OrderedDict[str, tuple[Bank, Backbone]] = OrderedDict()
        # Decoders, resizing and zlib let go of the interpreter's lock, so threads do help.
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="codec")

    @property
    def loaded(self) -> list[str]:
        """Names of the banks whose network is in memory."""
        return sorted({bank.name for bank, _ in self._loaded.values()})

    def load(self, name: str) -> tuple[Bank, Backbone]:
        """A bank with its network; the first call takes seconds.

        Raises:
            Problem: there is no such bank. ModelsError: it is damaged, or its network cannot be loaded.
        """
        bank = self.banks.get(name)
        if bank.digest not in self._loaded:
            backbone = bank.backbone(
                device=self.settings.device,
                precision=self.settings.precision,
                runtime=self.settings.runtime,
                threads=self.settings.threads,
                compile=self.settings.compile,
                cache=self.settings.data_dir / "cache",
            )
            self._loaded[bank.digest] = bank, backbone
        self._loaded.move_to_end(bank.digest)
        if len(self._loaded) > BANKS_KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[bank.digest]

    def answer(self, tasks: Sequence[PictureTask]) -> list[Answer]:
        """Explain pictures, all those of one bank in one forward.

        Returns:
            One answer per task, in their order; it never raises for a task's sake.
        """
        self.seconds = {}
        by_bank: dict[str, list[int]] = {}
        for position, task in enumerate(tasks):
            by_bank.setdefault(task.options.bank, []).append(position)
        answers: dict[int, Answer] = {}
        for bank, positions in by_bank.items():
            found = self._answer_safely(bank, [tasks[i] for i in positions])
            answers |= dict(zip(positions, found, strict=True))
        return [answers[i] for i in range(len(tasks))]

    def _answer_safely(self, bank: str, tasks: list[PictureTask]) -> list[Answer]:
        """`_answer`; when it fails (memory, or a picture that breaks something), the halves are tried apart."""
        try:
            return self._answer(bank, tasks)
        except Exception as error:
            if isinstance(error, Problem | JobsError | ModelsError) or len(tasks) == 1:
                return [Answer(problem=_problem(error)) for _ in tasks]
            log.warning("batch failed, trying its halves", pictures=len(tasks), reason=repr(error))
        middle = len(tasks) // 2
        return self._answer_safely(bank, tasks[:middle]) + self._answer_safely(bank, tasks[middle:])

    def _answer(self, name: str, tasks: list[PictureTask]) -> list[Answer]:
        bank, backbone = self.load(name)
        with self._timed("decode"):
            opened = self._map(lambda task: self._prepare(task, backbone.preprocessing), tasks)
            usable = [picture for picture in opened if isinstance(picture, _Prepared)]
        answers: list[Answer] = []
        if usable:
            with self._timed("forward"):
                features = backbone.forward(torch.stack([picture.pixels for picture in usable]))
                probabilities = torch.softmax(features.logits, dim=1).tolist()
            with self._timed("maps"), torch.inference_mode():
                pairs = _pairs(usable, features.logits)
                explanations = [
                    explanation
                    for start in range(0, len(pairs), PAIRS_AT_ONCE)
                    for explanation in explain(pairs[start : start + PAIRS_AT_ONCE], bank, backbone, features)
                ]
            with self._timed("encode"):
                rows = _by_row(explanations, len(usable))
                answers = self._map(
                    lambda row: _encoded(usable[row], rows[row], probabilities[row], bank, features, row),
                    range(len(usable)),
                )
        answered = iter(answers)
        return [next(answered) if isinstance(one, _Prepared) else Answer(problem=one) for one in opened]

    def _prepare(self, task: PictureTask, preprocessing: Preprocessing) -> _Prepared | Problem:
        if isinstance(task.content, np.ndarray):
            side = task.content.shape[-1]
            whole = Placement.whole(side, side)
            answer = PictureAnswer(picture=task.index, width=side, height=side)
            return _Prepared(task, torch.from_numpy(task.content), whole, whole, answer)
        try:
            picture = read_picture(task.content, self.settings.max_pixels)
        except PictureError as error:
            return Problem("bad-picture", error.message, field=f"pictures[{task.index}]", remedy=error.remedy)
        height, width = picture.pixels.shape[:2]
        source = place(preprocessing, height, width)
        target = Placement.whole(height, width) if task.options.size == "original" else source
        pixels = target.rows.length * target.columns.length
        if task.options.map_bytes(pixels) > MAX_MAP_BYTES:
            return Problem(
                "invalid",
                f"The maps asked for, at {width} x {height} pixels, would fill over {MAX_MAP_BYTES >> 20} MiB.",
                field="size",
                remedy="Ask for size=input, fewer classes or fewer maps.",
            )
        answer = PictureAnswer(
            picture=task.index, name=task.name, width=width, height=height, notes=list(picture.notes) or None
        )
        return _Prepared(task, prepare(picture.pixels, preprocessing), source, target, answer)

    def _map(self, make: Callable[[Given], Made], given: Iterable[Given]) -> list[Made]:
        return list(self._pool.map(make, given))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def _encoded(
    picture: _Prepared,
    explanations: Sequence[Explanation],
    probabilities: Sequence[float],
    bank: Bank,
    features: Features,
    row: int,
) -> Answer:
    """The answer to the picture at `row` of the batch."""
    options = picture.task.options
    if options.arrays:
        side = picture.source.rows.length
        return Answer(arrays=arrays(options.arrays, explanations, side, features.phi[row], features.logits[row]))
    return compose(picture.answer, explanations, probabilities, bank, picture.source, options)


def _pairs(pictures: Sequence[_Prepared], logits: Tensor) -> list[Pair]:
    """The classes asked for on every picture: the highest logits first, then those named."""
    most = max(picture.task.options.top for picture in pictures)
    top = logits.topk(most, dim=1).indices.tolist()
    return [
        Pair(row, class_index, picture.task.options, picture.source, picture.target)
        for row, picture in enumerate(pictures)
        for class_index in dict.fromkeys([*top[row][: picture.task.options.top], *picture.task.options.classes])
    ]


def _by_row(explanations: Iterable[Explanation], rows: int) -> list[list[Explanation]]:
    found: list[list[Explanation]] = [[] for _ in range(rows)]
    for explanation in explanations:
        found[explanation.pair.row].append(explanation)
    return found


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case JobsError():
            return from_jobs_error(error)
        case ModelsError():
            return from_models_error(error)
    log.error("picture failed", exc_info=error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Problem("internal", "The model worker had too little memory for this picture.")
    return Problem("internal", "The model worker failed on this picture; its log has the reason.")
