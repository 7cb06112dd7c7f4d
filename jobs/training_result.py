"""What is measured of a training: its accuracies over the epochs as a picture, and the final ones."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.training_request import TrainingRequest
from models import architectures
from models.geometry import normalise
from models.preprocessing import Preprocessing
from models.training.evaluation import ROBUST_STEPS, accuracy, robust_accuracy
from models.training.following import EpochRecord
from models.training.pictures import LabelledPictures

ROBUST_PICTURES = 1000
"""Most held-out pictures that the final attack is run on."""

BATCH = 100


def measure(
    state: dict[str, torch.Tensor],
    request: TrainingRequest,
    preprocessing: Preprocessing,
    held_out: LabelledPictures,
    device: torch.device,
    still_wanted: Callable[[], None],
) -> dict[str, object]:
    """Clean accuracy on all held-out pictures, robust accuracy on some; both in [0, 1].

    state: weights of the request's architecture; still_wanted: called before every forward, what it raises ends this.
    """
    network = architectures.build(request.architecture, len(held_out.classes), request.arguments)
    network.load_state_dict(state)
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch's stub lacks it
    planar = preprocessing.model_copy(update={"layout": "NCHW"})

    def forward(images: torch.Tensor) -> torch.Tensor:
        still_wanted()
        logits: torch.Tensor = network(normalise(images, planar).contiguous(memory_format=torch.channels_last))
        return logits

    attacked = held_out.spread(ROBUST_PICTURES)
    robust = robust_accuracy(forward, attacked, request.radius, device, batch_size=BATCH, norm=request.norm)
    return {
        "clean": round(accuracy(forward, held_out, device, BATCH), 4),
        "clean_pictures": len(held_out),
        "robust": round(robust, 4),
        "robust_pictures": len(attacked),
        "robust_attack": f"{request.norm} {request.radius:.4g}, {ROBUST_STEPS} steps, no restarts",
    }


def accuracy_png(records: Sequence[EpochRecord]) -> bytes:
    """Accuracies over epochs, of which there is one at least, as a PNG; equal records give equal bytes."""
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [record.epoch for record in records]
    series: dict[str, list[float | None]] = {
        "clean, held out": [record.clean for record in records],
        "robust, held out": [record.robust for record in records],
        "training batches, attacked": [record.training for record in records],
    }
    for label, values in series.items():
        if any(value is not None for value in values):
            drawn = [float("nan") if value is None else value for value in values]
            axes.plot(epochs, drawn, marker="o", markersize=3, label=label)
    axes.set(xlabel="epoch", ylabel="accuracy", xlim=(0.5, epochs[-1] + 0.5), ylim=(-0.02, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(series), frameon=False)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()
