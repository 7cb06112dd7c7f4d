"""What released labels are joined with: an encoder, pictures that give the statistics, and a name for the bank."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jobs.bank_publication import publish_bank, require_name
from jobs.catalogue import read_catalogue
from jobs.class_map import match_name
from jobs.datasets import get_dataset, get_pictures, read_rows
from jobs.encoders import OF_BANK, encoder_spec, get_encoder, load_encoder, weights_of
from jobs.errors import Conflict, Invalid
from jobs.look import look
from jobs.phi_sample import PhiSample
from jobs.settings import Settings
from jobs.store import Store
from models.backbone import Backbone
from models.bank import WEIGHTS, Bank, Manifest
from models.bank_card import Provenance
from models.bank_folders import find_banks
from models.bank_votes import BankVotes
from models.components import Components
from models.errors import BankError
from models.importance import Grouping

BLOCK = 512
"""Pictures looked at before what is not needed of them is let go."""

BATCH = 32
LISTED = 5
IMAGENET = 1000
WORDNET_ID = re.compile(r"n[0-9]{8}")

Progress = Callable[[int, int], None]
"""Called with the number of pictures that are done and of those there are."""


@dataclass(frozen=True)
class Wanted:
    """The bank that is asked for.

    Attributes:
        name: of the bank.
        encoder: id of an encoder, or `bank:<name>`.
        dataset: id of the data set whose pictures give the statistics.
        class_map: data-set class -> class of the encoder, where names differ.
        per_class: most pictures of each class, evenly spread; None for all.
    """

    name: str
    encoder: str
    dataset: str
    class_map: Mapping[str, str]
    per_class: int | None = None


class LabelImport:
    """One import: opens what the request names, looks at pictures, and publishes the bank.

    Attributes:
        spec: the encoder's specification.
        dataset: the data set's record.
    """

    def __init__(self, store: Store, settings: Settings, wanted: Wanted) -> None:
        """Check the request.

        Raises:
            Invalid: no bank can have this name.
            Conflict: one has it already.
            NotFound: there is no such encoder or data set.
        """
        require_name(wanted.name)
        if wanted.name in find_banks(settings.banks_dir):
            raise Conflict(f"There is a bank {wanted.name!r} already.", field="name", remedy="Choose another name.")
        self.store = store
        self.settings = settings
        self.wanted = wanted
        self.spec = encoder_spec(store, wanted.encoder, settings)
        self.dataset = get_dataset(store, wanted.dataset)

    @property
    def channels(self) -> int:
        """D, without the components that a bank may have."""
        return self.spec.backbone.maps[0]

    @cached_property
    def backbone(self) -> Backbone:
        """The encoder, loaded when it is first needed."""
        return load_encoder(self.store, self.wanted.encoder, self.settings)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Label of each picture of the data set, int32 [rows]."""
        return get_pictures(self.store, self.dataset.id).labels

    def refuse_known_others(self, allowed: str | None) -> None:
        """Refuse an encoder whose file the catalogue knows as another network than the labelled one.

        Args:
            allowed: the labelled one's name in the catalogue; None where it is not there.

        Raises:
            BankError: it is another one.
        """
        encoder = self.wanted.encoder
        origin = None if encoder.startswith(OF_BANK) else get_encoder(self.store, encoder).origin
        if origin is None:
            return
        for name, entry in read_catalogue(self.settings).items():
            known = origin.catalogue == name or (entry.sha256 is not None and entry.sha256 == origin.sha256)
            if known and name != allowed:
                raise BankError(
                    f"the labels were given for another checkpoint than {name!r}",
                    field="encoder",
                    remedy=f"use {allowed!r} of the catalogue" if allowed else "use the checkpoint of their release",
                )

    def of_label(self, wordnet_ids: Mapping[str, int]) -> NDArray[np.int32]:
        """Class of the encoder per label of the data set, -1 where there is none.

        By name; by WordNet id where the labels state them, or where the folders are the 1,000 of ImageNet, whose
        classes are in the order of their ids.

        Raises:
            Invalid: `class_map` names a class that the encoder lacks, or no class of the data set is one of its own.
        """
        classes, folders = self.spec.classes, self.dataset.class_names(self.spec.classes)
        if len(folders) == len(classes) == IMAGENET and all(map(WORDNET_ID.fullmatch, folders)):
            wordnet_ids = {name: index for index, name in enumerate(sorted(folders))} | dict(wordnet_ids)
        targets = {name: match_name(classes, target) for name, target in self.wanted.class_map.items()}
        for name, index in targets.items():
            if index < 0:
                target = self.wanted.class_map[name]
                raise Invalid(f"The encoder has no class {target[:100]!r}.", field="class_map")
        known = {**wordnet_ids, **targets}
        found = [known[name] if name in known else match_name(classes, name) for name in folders]
        if all(index < 0 for index in found):
            raise Invalid(
                f"None of the data set's {len(folders)} classes is one of the encoder's {len(classes)}; the first is "
                f"{folders[0][:100]!r}.",
                field="class_map",
                remedy="Name the encoder's class for each class of the data set.",
            )
        return np.array(found, dtype=np.int32)

    def rows(self, of_label: NDArray[np.int32], classes: Sequence[int] | None) -> NDArray[np.intp]:
        """Pictures of some classes (None for all), ascending; of each label at most `per_class`, evenly spread."""
        wanted = np.flatnonzero(of_label >= 0 if classes is None else np.isin(of_label, classes))
        rows = np.flatnonzero(np.isin(self.labels, wanted))
        most = self.wanted.per_class
        if most is None:
            return rows
        chosen = []
        for label in wanted.tolist():
            own = rows[self.labels[rows] == label]
            chosen.append(own if len(own) <= most else own[np.arange(most) * len(own) // most])
        return np.sort(np.concatenate([rows[:0], *chosen]))

    def look(
        self,
        rows: NDArray[np.intp],
        of_label: NDArray[np.int32],
        grouping: Grouping,
        progress: Callable[[int], None],
    ) -> Iterator[PhiSample]:
        """The features of some pictures, some hundreds at a time; `progress` is told how many are done."""
        for start in range(0, len(rows), BLOCK):

            def shown(done: int, before: int = start) -> None:
                progress(before + done)

            samples = read_rows(self.store, self.dataset.id, rows[start : start + BLOCK].tolist())
            most = self.settings.max_pixels
            yield look(samples, self.backbone, of_label, grouping, BATCH, most, None, shown).sample

    def publish(
        self,
        manifest: Manifest,
        *,
        threshold: int | None = None,
        votes: BankVotes | None = None,
        components: Components | None = None,
    ) -> Bank:
        """Publish the bank as the first version of its name.

        Args:
            manifest: what it states.
            threshold: answers that made a row spurious; None where nobody released any.
            votes: the answers; None likewise.
            components: directions of its components.

        Raises:
            Conflict: somebody published a bank of this name meanwhile.
        """
        with weights_of(self.store, self.settings, self.wanted.encoder) as weights:
            provenance = Provenance(
                threshold=threshold, dataset=self.dataset.id, encoder=f"sha256:{self.backbone.weights_digest}"
            )
            files = {WEIGHTS: weights}
            return publish_bank(
                self.settings, manifest, files, provenance, votes=votes, components=components, new=True
            )


def some(names: Sequence[str]) -> str:
    """The first few of a list, for a sentence."""
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
