"""Encoders: read once from whatever file they come in, tried out, and kept as safetensors.

`encoders/<id>/encoder.json` is the record, written last; `encoders/<id>/backbone.safetensors` are the weights. The
backbone of a bank is an encoder too, called `bank:<name>`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import torch

from jobs.encoder_declaration import NO_MEAN, NO_STD, EncoderDeclaration
from jobs.encoder_record import EncoderRecord, Origin
from jobs.errors import Invalid, NotFound
from jobs.scratch import save_weights
from jobs.settings import Settings
from jobs.store import Store, file_sha256
from jobs.subjects import find_bank, load_backbone
from models.backbone import Backbone
from models.checkpoints import Checkpoint, read_checkpoint
from models.encoder import EncoderSpec
from models.network import Network, fit_network, infer_network, maps_shape
from models.preprocessing import Preprocessing

OF_BANK = "bank:"
WEIGHTS = "backbone.safetensors"
NEAR = 1e-4
"""Two normalisers that differ by less are the same, written with other numbers of digits."""


def import_encoder(
    store: Store,
    path: Path,
    spec: EncoderSpec | EncoderDeclaration,
    settings: Settings,
    *,
    url: str | None = None,
    catalogue: str | None = None,
) -> EncoderRecord:
    """Read an encoder, try it out and keep it; the same bytes and specification again give the first record.

    Args:
        store: where to keep it.
        path: its file on this machine, in any format of `models.checkpoints.read_checkpoint`; it is left as it is.
        spec: what is declared; the network, its maps and its normaliser are completed from the file.
        settings: threads of the trial.
        url, catalogue: where the file comes from, for the record.

    Raises:
        CheckpointError, ArchitectureError, BackboneError: the file is refused, with the reason; nothing is kept.
        Invalid: file and declaration contradict one another.
        StoreFull: no room. Unavailable: the store does not answer.
    """
    declared = EncoderDeclaration.of(spec) if isinstance(spec, EncoderSpec) else spec
    checkpoint = read_checkpoint(path)
    network = _network(declared, checkpoint)
    state = fit_network(checkpoint.state, network, len(declared.classes))
    complete = _completed(declared, network, checkpoint)
    with store.scratch_file() as weights:
        save_weights(state, weights)
        digest = file_sha256(weights)
        identifier = encoder_id(complete, digest)
        if store.exists(_record(identifier)):
            return get_encoder(store, identifier)
        _try_out(weights, complete, settings)
        origin = Origin(
            sha256=file_sha256(path),
            bytes=path.stat().st_size,
            format=checkpoint.format,
            layout=checkpoint.layout,
            url=url,
            catalogue=catalogue,
        )
        record = EncoderRecord(
            id=identifier,
            spec=complete,
            weights_digest=digest,
            bytes=weights.stat().st_size,
            origin=origin,
            created=datetime.now(UTC),
        )
        store.write_file(f"encoders/{identifier}/{WEIGHTS}", weights)
    store.write_bytes(_record(identifier), record.model_dump_json(indent=1).encode())
    return record


def encoder_id(spec: EncoderSpec, weights_digest: str) -> str:
    """The id of weights with this sha256 so specified: the order of fields and defaults left out make no difference."""
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{canonical}\n{weights_digest}".encode()).hexdigest()


def get_encoder(store: Store, identifier: str) -> EncoderRecord:
    """The record of an encoder in the store.

    Raises:
        NotFound: there is none of this id.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", identifier) or not store.exists(_record(identifier)):
        raise NotFound(f"There is no encoder {identifier[:80]!r}.", field="encoder")
    return EncoderRecord.model_validate_json(store.read_bytes(_record(identifier)))


def list_encoders(store: Store, after: str = "", limit: int = 100) -> list[EncoderRecord]:
    """Up to `limit` records in the order of their ids, from the one that follows `after`."""
    later = (name for name in store.list("encoders") if name > after and store.exists(_record(name)))
    return [get_encoder(store, identifier) for identifier in islice(later, limit)]


def delete_encoder(store: Store, identifier: str) -> None:
    """Remove an encoder and its weights.

    Raises:
        NotFound: there is none of this id.
    """
    get_encoder(store, identifier)
    store.delete(_record(identifier))  # first: without its record it is not there, whatever comes between
    store.delete(f"encoders/{identifier}")


def encoder_spec(store: Store, encoder: str, settings: Settings) -> EncoderSpec:
    """The specification of an encoder of the store (its id) or of a bank (`bank:<name>`).

    Raises:
        NotFound: there is no such encoder or bank. BankError: the bank is damaged.
    """
    if not encoder.startswith(OF_BANK):
        return get_encoder(store, encoder).spec
    try:
        manifest = find_bank(settings, encoder.removeprefix(OF_BANK)).manifest
    except NotFound as error:
        raise NotFound(error.message, field="encoder", remedy=error.remedy) from error
    return EncoderSpec(
        name=manifest.name,
        title=manifest.title,
        licence=manifest.licence,
        classes=manifest.classes,
        backbone=manifest.backbone,
        card=manifest.card,
    )


def load_encoder(store: Store, encoder: str, settings: Settings) -> Backbone:
    """An encoder's network as the settings have it run.

    Args:
        store: holds it.
        encoder: its id, or `bank:<name>`.
        settings: device, precision, runtime, threads; the exported trunk is kept in their data folder.

    Raises:
        NotFound: there is no such encoder or bank. BankError, BackboneError: it cannot be loaded.
    """
    if encoder.startswith(OF_BANK):
        return load_backbone(find_bank(settings, encoder.removeprefix(OF_BANK)), settings, components=False)
    record = get_encoder(store, encoder)
    entry = record.spec.backbone
    with store.local_copy(f"encoders/{record.id}/{WEIGHTS}") as weights:
        return Backbone.load(
            weights,
            architecture=entry.architecture,
            arguments=entry.arguments,
            num_classes=len(record.spec.classes),
            preprocessing=entry.preprocessing,
            device=settings.device,
            precision=settings.precision,
            runtime=settings.runtime,
            compile=settings.compile,
            threads=settings.threads,
            cache=settings.data_dir / "cache",
        )


def _network(declared: EncoderDeclaration, checkpoint: Checkpoint) -> Network:
    backbone = declared.backbone
    if backbone.architecture is None:
        return infer_network(checkpoint.state)
    return Network(backbone.architecture, backbone.arguments)


def _completed(declared: EncoderDeclaration, network: Network, checkpoint: Checkpoint) -> EncoderSpec:
    """The specification, with what the file tells where nothing is declared."""
    preprocessing = _normalised(declared.backbone.preprocessing, checkpoint)
    maps = maps_shape(network, len(declared.classes), preprocessing)
    if declared.backbone.maps not in (None, maps):
        raise Invalid(
            f"Maps of {declared.backbone.maps} are declared; pictures of {preprocessing.size} px give {maps}.",
            field="backbone.maps",
            remedy="Leave them out, or declare the size of picture they belong to.",
        )
    return declared.completed(network, preprocessing, maps)


def _normalised(declared: Preprocessing, checkpoint: Checkpoint) -> Preprocessing:
    """The declared preprocessing with the file's normaliser, where it has one."""
    if checkpoint.mean is None or checkpoint.std is None:
        return declared
    if (declared.mean, declared.std) == (NO_MEAN, NO_STD):
        if (declared.scale, declared.colour) != ("unit", "RGB"):
            raise Invalid(
                "The file brings a normaliser for RGB pictures in [0, 1].",
                field="backbone.preprocessing",
                remedy="Declare scale 'unit' and colour 'RGB', or a mean and a std of your own.",
            )
        return declared.model_copy(update={"mean": checkpoint.mean, "std": checkpoint.std})
    pairs = zip((*declared.mean, *declared.std), (*checkpoint.mean, *checkpoint.std), strict=True)
    if declared.scale == "unit" and declared.colour == "RGB" and any(abs(a - b) > NEAR for a, b in pairs):
        raise Invalid(
            f"Mean {declared.mean} and std {declared.std} are declared; the file has been trained with "
            f"{checkpoint.mean} and {checkpoint.std}.",
            field="backbone.preprocessing",
            remedy="Leave mean and std out, and the file's own are taken.",
        )
    return declared


def _try_out(weights: Path, spec: EncoderSpec, settings: Settings) -> None:
    """One forward of a plain and a noisy picture, which must give numbers."""
    entry = spec.backbone
    backbone = Backbone.load(
        weights,
        architecture=entry.architecture,
        arguments=entry.arguments,
        num_classes=len(spec.classes),
        preprocessing=entry.preprocessing,
        runtime="torch",
        threads=settings.threads,
    )
    side = entry.preprocessing.size
    noise = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = backbone.forward(torch.cat([torch.full_like(noise, 128), noise]))
    if not bool(torch.isfinite(features.logits).all() and torch.isfinite(features.maps).all()):
        raise Invalid(
            "The network gives no numbers for a grey and a noisy picture.",
            field="file",
            remedy="Check its running variances, and try it on a picture where it was trained.",
        )
    if tuple(features.maps.shape[1:]) != entry.maps:
        raise Invalid(f"The network gives maps of {tuple(features.maps.shape[1:])}, not {entry.maps}.", field="file")


@contextmanager
def weights_of(store: Store, settings: Settings, encoder: str) -> Iterator[Path]:
    """The weights of an encoder, or of a bank's backbone (`bank:<name or digest>`), as a file to be read only.

    Raises:
        NotFound: There is no such encoder or bank.
    """
    if encoder.startswith(OF_BANK):
        yield find_bank(settings, encoder.removeprefix(OF_BANK)).path / WEIGHTS
        return
    with store.local_copy(f"encoders/{encoder}/{WEIGHTS}") as path:
        yield path


def _record(identifier: str) -> str:
    return f"encoders/{identifier}/encoder.json"
