"""Features of some pictures of every class, kept with each shard: all of a small class, a fair draw of a large one.

Quantiles, neural principal components and failure modes need more than sums. Which pictures are kept is decided by a
hash of their row, so that it depends neither on how the work was cut nor on who came first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

MOST_PER_CLASS = 2048
"""Pictures of one class whose features are looked at together; of more, so many are drawn."""

MARGIN = 1.25
"""A shard keeps so many times its share of them, as it does not know how the lots fall in the others."""

INT = pa.int32()


@dataclass(frozen=True)
class PhiSample:
    """Pictures of one group or several.

    Attributes:
        row: int64 [N], row in the index of the data set.
        group: int32 [N], class whose group G(c) the picture is in.
        label: int32 [N], its label as a class of the encoder.
        inspected: int32 [N], class that the inspected classifier predicts; -1 where there is none.
        phi: float32 [N, D].
    """

    row: NDArray[np.int64]
    group: NDArray[np.int32]
    label: NDArray[np.int32]
    inspected: NDArray[np.int32]
    phi: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> PhiSample:
        """Some of the pictures."""
        return PhiSample(self.row[index], self.group[index], self.label[index], self.inspected[index], self.phi[index])


def lot(seed: int, row: int) -> float:
    """The lot of a picture, uniform in [0, 1): the lowest are kept."""
    drawn = hashlib.blake2b(f"phi {seed} {row}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "little") / 2**64


def thin(sample: PhiSample, seed: int, class_sizes: Sequence[int]) -> PhiSample:
    """What is kept of some pictures, by row. Of parts that were thinned, joined and thinned again, the same is kept.

    Args:
        sample: of all pictures of a shard, or what several shards have kept.
        seed: of the request.
        class_sizes: pictures of each class in the whole data set, by label. A group of predictions may be larger,
            which costs nothing, or smaller: then the same share of it is kept, and so less than there is room for.
    """
    lots = np.array([lot(seed, row) for row in sample.row.tolist()])
    kept = [np.empty(0, np.intp)]
    for group in np.unique(sample.group).tolist():
        own = np.flatnonzero((sample.group == group) & (lots < MARGIN * MOST_PER_CLASS / max(class_sizes[group], 1)))
        kept.append(own[np.argsort(lots[own], kind="stable")[:MOST_PER_CLASS]])
    every = np.concatenate(kept)
    return sample.take(every[np.argsort(sample.row[every], kind="stable")])


def gather(
    parts: Iterable[PhiSample], groups: Collection[int], width: int, seed: int, class_sizes: Sequence[int]
) -> dict[int, PhiSample]:
    """What shards have kept, by group, and thinned again whenever there is twice as much as is used in the end.

    Args:
        parts: of one group each.
        groups: those that are wanted; the others are not in `parts`.
        width: features.
        seed, class_sizes: as in `thin`.
    """
    found: dict[int, list[PhiSample]] = {group: [] for group in groups}
    for part in parts:
        own = found[int(part.group[0])]
        own.append(part)
        if sum(map(len, own)) > 2 * MOST_PER_CLASS:
            own[:] = [thin(join(own, width), seed, class_sizes)]
    return {group: thin(join(own, width), seed, class_sizes) for group, own in found.items()}


def write_sample(sample: PhiSample, target: pa.BufferOutputStream | str) -> None:
    """Write a parquet file with one row group per class, so that one class can be read alone."""
    width = sample.phi.shape[1]
    schema = pa.schema(
        [
            ("row", pa.int64()),
            ("group", INT),
            ("label", INT),
            ("inspected", INT),
            ("phi", pa.list_(pa.float32(), width)),
        ]
    )
    with pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=False) as writer:
        for group in np.unique(sample.group):
            own = sample.take(sample.group == group)
            phi = pa.FixedSizeListArray.from_arrays(pa.array(own.phi.ravel()), width)
            columns = [pa.array(own.row), pa.array(own.group), pa.array(own.label), pa.array(own.inspected), phi]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def read_sample(file: IO[bytes], groups: Collection[int]) -> Iterator[PhiSample]:
    """The pictures of some classes, one class after the other."""
    parquet = pq.ParquetFile(file)
    column = parquet.schema_arrow.get_field_index("group")
    for number in range(parquet.num_row_groups):
        statistics = parquet.metadata.row_group(number).column(column).statistics
        if statistics.min not in groups:
            continue
        table = parquet.read_row_group(number).combine_chunks()
        width = table.schema.field("phi").type.list_size
        phi = table["phi"].chunk(0).flatten().to_numpy().reshape(-1, width)
        row, group, label, inspected = (table[name].to_numpy() for name in ("row", "group", "label", "inspected"))
        yield PhiSample(row, group, label, inspected, phi)


def join(samples: Sequence[PhiSample], width: int) -> PhiSample:
    """Several samples as one; an empty one of `width` features where there are none."""
    if not samples:
        nothing = np.empty(0, np.int32)
        return PhiSample(np.empty(0, np.int64), nothing, nothing, nothing, np.empty((0, width), np.float32))
    names = ("row", "group", "label", "inspected", "phi")
    return PhiSample(*(np.concatenate([getattr(sample, name) for sample in samples]) for name in names))
