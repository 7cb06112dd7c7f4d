"""Tables with a row of numbers per picture: as matrices, class by class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """float32 [N, D] of a column of equally long lists, N >= 1."""
    flat: NDArray[np.float32] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def by_class(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each class index in the column `class`."""
    classes = table["class"].to_numpy()
    for class_index in np.unique(classes).tolist():
        yield class_index, table.take(np.flatnonzero(classes == class_index))
