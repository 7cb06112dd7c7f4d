"""Masks and contributions beside the bare forward they ride on."""

from __future__ import annotations

from pathlib import Path

import torch

from models.bank import Bank
from models.geometry import place, prepare
from models.masks import nams
from service.maps import Pair, explain
from service.options import MaskOptions
from tests.bench.harness import Ratio, interleave, paired_ratio
from tests.bench.subjects import IMAGENET, decoded, photograph_classes, resnet50_bank

BATCH = 8


def options(bank: Bank, contributions: bool = True) -> MaskOptions:
    """Masks and contributions of the predicted class on the network's input, as a request without wishes gets."""
    return MaskOptions(
        bank=bank.digest,
        top=1,
        classes=(),
        features=(),
        masks=True,
        contributions=contributions,
        size="input",
        encoding="png",
        threshold=0.5,
        inline=False,
    )


def measure(folder: Path) -> list[Ratio]:
    """Both ratios of the in-process table."""
    bank = resnet50_bank(folder, photograph_classes())
    default = bank.backbone(cache=folder / "cache")
    eager = bank.backbone(runtime="torch", precision="fp32")
    pictures = decoded(BATCH)
    batch = torch.stack([prepare(picture, IMAGENET) for picture in pictures])
    placements = [place(IMAGENET, *picture.shape[:2]) for picture in pictures]
    wanted = options(bank)

    def explained() -> None:
        features = default.forward(batch)
        predicted = features.logits.argmax(dim=1).tolist()
        pairs = [Pair(i, c, wanted, p, p) for i, (c, p) in enumerate(zip(predicted, placements, strict=True))]
        with torch.inference_mode():
            explain(pairs, bank, default, features)

    rivals = {
        "explained": explained,
        "bare": lambda: default.forward(batch),
        "eager": lambda: eager.forward(batch),
    }
    seconds = interleave(rivals, rounds=9)
    rates = {name: round(BATCH / sorted(runs)[len(runs) // 2], 1) for name, runs in seconds.items()}
    difference = float((nams(default.forward(batch).maps) - nams(eager.forward(batch).maps)).abs().max())
    detail = {"pictures_per_second": rates, "batch": BATCH, "runtime": default.runtime, "precision": default.precision}
    return [
        Ratio(
            "masks and contributions over bare forward",
            paired_ratio(seconds["bare"], seconds["explained"]),
            ">= 0.90",
            detail,
        ),
        Ratio(
            "default runtime with masks over eager fp32 bare forward",
            paired_ratio(seconds["eager"], seconds["explained"]),
            ">= 1.4",
            detail | {"largest_mask_difference_of_255": round(difference * 255, 3)},
        ),
    ]
