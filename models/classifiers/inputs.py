"""Pictures as a network wants them: `models.geometry.normalise` without torch, for the process that runs ONNX."""

from __future__ import annotations

import numpy as np

from models.preprocessing import Preprocessing


class NetworkInput:
    """Turns pictures into the input tensor of one network; keeps its buffer from batch to batch.

    Attributes:
        preprocessing: as declared by the classifier's owner.
        dtype: of the tensor: float32, float16, float64 or uint8.
    """

    def __init__(self, preprocessing: Preprocessing, dtype: type[np.generic] = np.float32) -> None:
        self.preprocessing = preprocessing
        self.dtype = np.dtype(dtype)
        std = np.array(preprocessing.std)
        factor = 255.0 if preprocessing.scale == "byte" else 1.0
        self._scale = (factor / std).astype(np.float32).reshape(3, 1, 1)
        self._shift = (-np.array(preprocessing.mean) / std).astype(np.float32).reshape(3, 1, 1)
        self._buffer = np.empty((0,), np.float32)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """The input tensor, valid until the next call.

        Args:
            batch: float32 [N, 3, s, s] in [0, 1], RGB.

        Returns:
            [N, 3, s, s], or [N, s, s, 3] for layout NHWC, contiguous, of `dtype`. uint8 is rounded to nearest.
        """
        count, channels, height, width = batch.shape
        by_row = self.preprocessing.layout == "NHWC"
        shape = (count, height, width, channels) if by_row else batch.shape
        if self._buffer.shape != shape:
            self._buffer = np.empty(shape, np.float32)
        values = self._buffer.transpose(0, 3, 1, 2) if by_row else self._buffer
        np.multiply(batch[:, ::-1] if self.preprocessing.colour == "BGR" else batch, self._scale, out=values)
        values += self._shift
        if self.dtype == np.uint8:
            return np.clip(np.rint(self._buffer), 0, 255).astype(np.uint8)
        return self._buffer.astype(self.dtype, copy=False)
