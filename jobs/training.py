"""Trainings as jobs: one long task that follows a plan epoch by epoch and ends in an encoder of the store.

`trainings/<job>/checkpoint.pt` is rewritten after every epoch, so that a training whose worker dies, whose disk is full
or that is retried loses one epoch at most. `training.json`, which names the encoder, is written last.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file

from jobs.datasets import get_pictures
from jobs.encoders import import_encoder, load_encoder
from jobs.kinds import Kind, Work
from jobs.pictures import PictureError, decode
from jobs.scratch import room_for, save_weights
from jobs.settings import Settings
from jobs.store import Store
from jobs.training_follower import ONLY_SHARD, TrainingFollower
from jobs.training_order import MappedPictures, Order, carry_out
from jobs.training_pictures import PictureFile, map_pictures, write_pictures
from jobs.training_processes import train_in_processes
from jobs.training_request import TrainingRequest
from jobs.training_result import measure
from jobs.training_subjects import Part, Subjects, encoder_state, gather, pinned
from models.encoder import EncoderSpec
from models.geometry import prepare
from models.network import Network, maps_shape
from models.preprocessing import Preprocessing
from models.runtime import resolve_device
from models.training.attack import Attack
from models.training.augmentation import Augmentation
from models.training.linear_head import fit_head, without_head
from models.training.plan import Plan

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue

FEATURES_BATCH = 64
NO_NORMALISER = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def check(store: Store, settings: Settings, request: TrainingRequest) -> dict[str, str]:
    """Pin a bank's backbone by the bank's digest. Raises as `gather`."""
    gather(store, settings, request)
    return {} if request.encoder is None else {"encoder": pinned(settings, request.encoder)}


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """One shard: every picture, once in every epoch."""
    pictures = _pictures(gather(queue.store, queue.settings, _request(inputs)))
    done = queue.store.exists(f"trainings/{job}/training.json")
    return Work([pictures], frozenset({ONLY_SHARD} if done else ()))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Train, unless that is done."""
    subjects = gather(queue.store, queue.settings, _request(inputs))
    if not queue.store.exists(f"trainings/{job}/training.json"):
        follower = TrainingFollower(queue, job, subjects.request)
        with ExitStack() as scratch:
            if subjects.request.route == "linear_head":
                _fit(queue, job, subjects, follower, scratch)
            else:
                _train(queue, job, subjects, follower, scratch)
    return _pictures(subjects)


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> None:
    """Nothing is left to do: the shard has written everything."""


KIND = Kind(
    "training",
    TrainingRequest,
    check,
    plan,
    run_shard,
    reduce,
    hidden=frozenset({"checkpoint.pt"}),
    timeout="training_timeout_seconds",
)


def _train(queue: JobQueue, job: str, subjects: Subjects, follower: TrainingFollower, scratch: ExitStack) -> None:
    """The adversarial route."""
    store, settings, request = queue.store, queue.settings, subjects.request
    preprocessing = subjects.preprocessing(*NO_NORMALISER)
    training = _decoded(queue, subjects.training, preprocessing, follower.evaluating, scratch)
    held_out = _decoded(queue, subjects.held_out, preprocessing, follower.evaluating, scratch)
    mean, std = request.mean or training.mean, request.std or training.std
    if subjects.encoder is not None:
        mean, std = preprocessing.mean, preprocessing.std
    initial = None
    if request.encoder is not None:
        initial = scratch.enter_context(store.scratch_file())
        state = encoder_state(store, settings, request.encoder)
        save_weights(without_head(state, request.architecture), initial)
    order = Order(
        plan=_plan(request, mean, std),
        classes=subjects.classes,
        training=_mapped(store, training, scratch),
        held_out=_mapped(store, held_out, scratch),
        evaluation_pictures=request.evaluation_pictures,
        checkpoint=f"trainings/{job}/checkpoint.pt",
        initial=initial,
        weights=scratch.enter_context(store.scratch_file()),
        device=resolve_device(settings.device).type,
    )
    if request.processes == 1:
        trained = carry_out(order, store, follower)
        minutes, epochs = trained.minutes, trained.epochs
    else:
        path = scratch.enter_context(store.scratch_file())
        minutes, epochs = train_in_processes(order, request.processes, settings, follower, path)
    follower.fill_in(epochs)
    skipped = training.skipped + held_out.skipped
    figures = {"training_pictures": len(training.labels), "skipped": skipped, "minutes": round(minutes, 1)}
    _publish(queue, job, subjects, follower, order.weights, subjects.preprocessing(mean, std), held_out, figures)


def _fit(queue: JobQueue, job: str, subjects: Subjects, follower: TrainingFollower, scratch: ExitStack) -> None:
    """The cheap route: features of the frozen encoder, once, then a head on them."""
    store, settings, request = queue.store, queue.settings, subjects.request
    encoder, spec = _encoder(subjects)
    preprocessing = spec.backbone.preprocessing
    held_out = _decoded(queue, subjects.held_out, preprocessing, follower.evaluating, scratch)
    path = scratch.enter_context(store.scratch_file())
    features, labels, skipped = _features(queue, subjects, path, follower)
    head = fit_head(features, labels, len(subjects.classes), request.weight_decay, follower.evaluating)
    weights = scratch.enter_context(store.scratch_file())
    save_weights(head.on(encoder_state(store, settings, encoder), request.architecture), weights)
    figures = {
        "training_pictures": len(labels),
        "skipped": skipped + held_out.skipped,
        "loss": round(head.loss, 4),
        "features_of": encoder,
    }
    _publish(queue, job, subjects, follower, weights, preprocessing, held_out, figures)


def _features(
    queue: JobQueue, subjects: Subjects, path: Path, follower: TrainingFollower
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Penultimate features float32 [N, D], mapped from a file; labels int64 [N]; how many samples were skipped."""
    encoder, spec = _encoder(subjects)
    backbone = load_encoder(queue.store, encoder, queue.settings)
    part = subjects.training
    labels: list[int] = []
    batch: list[torch.Tensor] = []
    skipped = 0
    with path.open("wb") as file:

        def flush() -> None:
            with room_for("the features"):
                file.write(backbone.forward(torch.stack(batch)).phi.float().cpu().numpy().tobytes())
            batch.clear()
            follower.done(len(labels))

        for sample in get_pictures(queue.store, part.dataset).read(part.rows.tolist()):
            try:
                picture = (
                    decode(sample.content, queue.settings.max_pixels) if isinstance(sample.content, bytes) else None
                )
            except PictureError:
                picture = None
            if picture is None:
                skipped += 1
                continue
            batch.append(prepare(picture, backbone.preprocessing))
            labels.append(int(part.of_label[sample.label]))
            if len(batch) == FEATURES_BATCH:
                flush()
        if batch:
            flush()
    channels = spec.backbone.maps[0]
    mapped = np.memmap(path, np.float32, mode="c", shape=(len(labels), channels))
    return torch.from_numpy(mapped), torch.tensor(labels), skipped


def _encoder(subjects: Subjects) -> tuple[str, EncoderSpec]:
    if subjects.request.encoder is None or subjects.encoder is None:
        raise ValueError("a linear head without an encoder")  # the request has refused it
    return subjects.request.encoder, subjects.encoder


def _publish(
    queue: JobQueue,
    job: str,
    subjects: Subjects,
    follower: TrainingFollower,
    weights: Path,
    preprocessing: Preprocessing,
    held_out: PictureFile,
    figures: dict[str, Any],
) -> None:
    """Measure the weights, bring them in as an encoder, and say which."""
    store, settings, request = queue.store, queue.settings, subjects.request
    measured = measure(
        load_file(weights),
        request,
        preprocessing,
        map_pictures(held_out.path, held_out.labels, held_out.size, subjects.classes),
        resolve_device(settings.device),
        follower.evaluating,
    )
    network = Network(request.architecture, request.arguments)
    card = {
        "made_by": f"training {job}, route {request.route}",
        "accuracy": measured,
        **figures,
        "request": request.model_dump(mode="json"),
        "torch": torch.__version__,
    }
    spec = EncoderSpec.model_validate(
        {
            "name": request.name,
            "title": request.title,
            "licence": request.licence,
            "classes": subjects.classes,
            "backbone": {
                "architecture": request.architecture,
                "arguments": request.arguments,
                "preprocessing": preprocessing,
                "maps": maps_shape(network, len(subjects.classes), preprocessing),
            },
            "card": card,
        }
    )
    record = import_encoder(store, weights, spec, settings)
    if follower.records:
        follower.write()
    content = {"encoder": record.id, **card}
    store.write_bytes(f"trainings/{job}/training.json", (json.dumps(content, indent=1) + "\n").encode())


def _plan(request: TrainingRequest, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Plan:
    return Plan(
        architecture=request.architecture,
        arguments=request.arguments,
        epochs=request.epochs,
        mean=mean,
        std=std,
        attack=Attack(request.radius, request.steps, request.step_length, request.norm),
        augmentation=Augmentation(flip=request.flip, padding=request.padding),
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        weight_decay=request.weight_decay,
        label_smoothing=request.label_smoothing,
        averaging=request.averaging,
        precision=request.precision,
        seed=request.seed,
    )


def _decoded(
    queue: JobQueue, part: Part, preprocessing: Preprocessing, still_wanted: Callable[[], None], scratch: ExitStack
) -> PictureFile:
    path = scratch.enter_context(queue.store.scratch_file())
    return write_pictures(
        queue.store,
        part.dataset,
        part.rows.tolist(),
        part.of_label,
        preprocessing,
        path,
        queue.settings.max_pixels,
        still_wanted,
    )


def _mapped(store: Store, pictures: PictureFile, scratch: ExitStack) -> MappedPictures:
    labels = scratch.enter_context(store.scratch_file())
    with room_for("the labels"), labels.open("wb") as file:
        np.save(file, pictures.labels)
    return MappedPictures(pictures=pictures.path, labels=labels, size=pictures.size)


def _pictures(subjects: Subjects) -> int:
    """Pictures to go through, all epochs together."""
    epochs = subjects.request.epochs if subjects.request.route == "adversarial" else 1
    return epochs * len(subjects.training.rows)


def _request(inputs: JobInputs) -> TrainingRequest:
    return TrainingRequest.model_validate(inputs.pinned())
