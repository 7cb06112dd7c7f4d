"""The training script's parts: attack, augmentation, schedule, loop, labels from exact masks, export."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from models.architectures import build, penultimate
from models.bank import Votes
from models.errors import TrainingError
from models.gradcam import gradcam
from models.planted.rendering import Picture, render
from models.planted.scenes import CLASSES, Rates, draw_scene, draw_scenes
from models.training import recipes
from models.training.__main__ import app
from models.training.artefacts import provenance, write_network
from models.training.attack import Attack, Norm
from models.training.augmentation import Augmentation
from models.training.evaluation import accuracy, robust_accuracy
from models.training.features import Activations, importances, statistics
from models.training.loop import train
from models.training.onnx_export import export_onnx
from models.training.overlap import agreement, best_region, vote
from models.training.pictures import LabelledPictures, read_archive
from models.training.plan import Plan
from models.training.planted_pictures import draw_pictures
from models.training.reliance import Interventions, measure_reliance

CPU = torch.device("cpu")
TINY = {"widths": [4, 4, 8, 8], "strides": [1, 2, 1, 1], "stem_stride": 2}


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture(scope="module")
def bright_or_dark() -> LabelledPictures:
    """Sixty-four 16-pixel pictures in two classes that a few steps of training tell apart."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(64) % 2
    images = torch.randint(0, 100, (64, 3, 16, 16), generator=draw) + 150 * labels.view(-1, 1, 1, 1)
    return LabelledPictures(images.to(torch.uint8), labels, ("dark", "bright"), tuple(map(str, range(64))))


@pytest.fixture
def plan() -> Plan:
    return Plan(
        architecture="small_resnet",
        arguments=TINY,
        epochs=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        attack=Attack(0.1, 1, 0.1),
        batch_size=16,
        learning_rate=0.05,
        averaging=0.5,
        precision="fp32",
    )


def linear(images: torch.Tensor) -> torch.Tensor:
    """Two classes: dark (0) and bright (1)."""
    brightness = images.flatten(1).mean(1)
    return torch.stack([0.5 - brightness, brightness - 0.5], dim=1) * 10


def length(offsets: torch.Tensor, norm: Norm) -> torch.Tensor:
    """What the ball of an attack is measured in, [N]."""
    return offsets.flatten(1).norm(dim=1, p=2 if norm == "l2" else torch.inf)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 0.5), ("linf", 0.04)])
def test_an_attack_stays_in_its_ball_and_raises_the_loss(
    steps: int, norm: Norm, epsilon: float, generator: torch.Generator
) -> None:
    images = (torch.rand(6, 3, 8, 8, generator=generator) * 1.4 - 0.2).clamp(0, 1)  # many pixels at either end
    labels = torch.tensor([0, 1] * 3)
    moved = Attack(epsilon, steps, 0.7 * epsilon, norm).perturb(linear, images, labels, generator)
    distance = length(moved - images, norm)
    assert (distance <= epsilon + 1e-5).all()
    assert (distance > 0.4 * epsilon).all()
    assert 0 <= moved.min() <= moved.max() <= 1
    losses = [torch.nn.functional.cross_entropy(linear(x), labels, reduction="none") for x in (images, moved)]
    assert (losses[1] > losses[0]).all()


@pytest.mark.parametrize(("norm", "epsilon", "worst"), [("l2", 0.5, 0.5 / (3 * 8 * 8) ** 0.5), ("linf", 0.04, 0.04)])
def test_an_attack_finds_the_worst_point_of_a_linear_model(
    norm: Norm, epsilon: float, worst: float, generator: torch.Generator
) -> None:
    images = torch.full((1, 3, 8, 8), 0.5)
    moved = Attack(epsilon, 60, epsilon / 10, norm).perturb(linear, images, torch.tensor([1]), generator)
    torch.testing.assert_close(moved, images - worst, atol=2e-3, rtol=0)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_an_attack_starts_anywhere_in_its_ball(norm: Norm, generator: torch.Generator) -> None:
    offsets = Attack(0.5, 1, 0.1, norm).start(torch.Size([400, 3, 4, 4]), generator)
    distance = length(offsets, norm)
    assert (distance <= 0.5 + 1e-6).all()
    assert offsets.mean().abs() < 0.01
    if norm == "l2":
        assert distance.quantile(torch.tensor([0.25, 0.75])).tolist() == pytest.approx([0.125, 0.375], abs=0.04)
    else:
        assert offsets.quantile(torch.tensor([0.25, 0.75])).tolist() == pytest.approx([-0.25, 0.25], abs=0.02)


def test_batch_norm_sees_each_batch_once_and_no_step_of_the_attack(
    plan: Plan, bright_or_dark: LabelledPictures, tmp_path: Path
) -> None:
    many = dataclasses.replace(plan, epochs=1, attack=Attack(0.1, 3, 0.1))
    train(many, bright_or_dark, tmp_path / "c.pt", CPU, held_out=bright_or_dark)
    network = torch.load(tmp_path / "c.pt", weights_only=True)["network"]
    counts = {int(tensor) for name, tensor in network.items() if name.endswith("num_batches_tracked")}
    assert counts == {len(bright_or_dark) // plan.batch_size}


def test_bfloat16_is_the_arithmetic_and_not_the_weights(
    plan: Plan, bright_or_dark: LabelledPictures, tmp_path: Path
) -> None:
    kinds: set[torch.dtype] = set()

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d):
            kinds.add(output.dtype)

    with torch.nn.modules.module.register_module_forward_hook(note):
        trained = train(dataclasses.replace(plan, precision="bf16"), bright_or_dark, tmp_path / "c.pt", CPU)
    assert kinds == {torch.bfloat16}
    state = trained.network.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    assert accuracy(lambda images: trained.network((images - 0.5) / 0.3), bright_or_dark, CPU) > 0.95


def test_flipping_mirrors_about_half_of_the_pictures(generator: torch.Generator) -> None:
    images = torch.rand(40, 3, 6, 6, generator=generator)
    changed = Augmentation(flip=True).apply(images, generator)
    mirrored = [bool((a == b.flip(2)).all()) for a, b in zip(changed, images, strict=True)]
    same = [bool((a == b).all()) for a, b in zip(changed, images, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 10 < sum(mirrored) < 30


def test_shifting_moves_the_content_without_inventing_pixels(generator: torch.Generator) -> None:
    images = torch.zeros(20, 3, 8, 8)
    images[:, :, 4, 4] = 1
    changed = Augmentation(flip=False, padding=2).apply(images, generator)
    assert (changed.sum(dim=(2, 3)) == 1).all()
    positions = changed[:, 0].flatten(1).argmax(1)
    assert len(positions.unique()) > 5
    assert (((positions // 8) - 4).abs() <= 2).all()


def test_the_learning_rate_rises_then_falls_to_zero(plan: Plan) -> None:
    rates = [plan.learning_rate_at(step / 100) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(plan.learning_rate)
    assert rates.index(max(rates)) == 15
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_training_learns_and_is_the_same_every_time(
    plan: Plan, bright_or_dark: LabelledPictures, tmp_path: Path
) -> None:
    first = train(plan, bright_or_dark, tmp_path / "a.pt", CPU).network
    second = train(plan, bright_or_dark, tmp_path / "b.pt", CPU).network
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name

    def forward(images: torch.Tensor) -> torch.Tensor:
        return first((images - 0.5) / 0.3)

    assert accuracy(forward, bright_or_dark, CPU) > 0.95
    assert robust_accuracy(forward, bright_or_dark, 0.1, CPU) > 0.9
    assert robust_accuracy(forward, bright_or_dark, 8.0, CPU) < 0.5


def test_training_that_was_stopped_goes_on_to_the_same_weights(
    plan: Plan, bright_or_dark: LabelledPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(plan, bright_or_dark, tmp_path / "whole.pt", CPU).network
    saved: list[int] = []
    save = torch.save

    def stop_after_two(*arguments: object) -> None:
        save(*arguments)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train(plan, bright_or_dark, tmp_path / "stopped.pt", CPU)
    monkeypatch.undo()
    resumed = train(plan, bright_or_dark, tmp_path / "stopped.pt", CPU).network
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_training_that_diverges_says_so_and_keeps_the_last_good_epoch(
    plan: Plan, bright_or_dark: LabelledPictures, tmp_path: Path
) -> None:
    train(dataclasses.replace(plan, epochs=1), bright_or_dark, tmp_path / "c.pt", CPU)
    good = (tmp_path / "c.pt").read_bytes()
    with pytest.raises(TrainingError, match="diverged in epoch 2") as raised:
        train(dataclasses.replace(plan, learning_rate=1e30), bright_or_dark, tmp_path / "c.pt", CPU)
    assert raised.value.field == "learning_rate"
    assert (tmp_path / "c.pt").read_bytes() == good


def test_weights_are_written_with_plain_keys(tmp_path: Path) -> None:
    network = build("small_resnet", 3, TINY)
    write_network(network, tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors").keys() == network.state_dict().keys()


def test_a_card_does_not_say_where_files_lie(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["x", "cifar10-classifier", "--train", "/home/someone/cifar.zip"])
    card = provenance(plan, 1.234, CPU)
    assert card["command"] == "python -m models.training cifar10-classifier --train cifar.zip"
    assert (card["seed"], card["minutes"]) == (plan.seed, 1.2)


def archive_of(path: Path, pictures: dict[str, tuple[int, int]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for value, (name, size) in enumerate(pictures.items()):
            stream = io.BytesIO()
            Image.new("RGB", size, (value, 0, 255)).save(stream, "PNG")
            archive.writestr(name, stream.getvalue())
    return path


def test_an_archive_is_read_in_order_of_names(tmp_path: Path) -> None:
    path = archive_of(
        tmp_path / "a.zip", {"b/1.png": (4, 4), "a/2.png": (4, 4), "a/1.png": (4, 4), "notes.txt": (4, 4)}
    )
    pictures = read_archive(path)
    assert pictures.names == ("a/1.png", "a/2.png", "b/1.png")
    assert pictures.classes == ("a", "b")
    assert pictures.labels.tolist() == [0, 0, 1]
    assert pictures.images[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert pictures.spread(2).names == ("a/1.png", "b/1.png")


def test_an_archive_of_mixed_sizes_or_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b/1.png is 5 x 4"):
        read_archive(archive_of(tmp_path / "a.zip", {"a/1.png": (4, 4), "b/1.png": (5, 4)}))
    with pytest.raises(ValueError, match="no picture"):
        read_archive(archive_of(tmp_path / "b.zip", {"readme.txt": (4, 4)}))


def test_drawn_pictures_come_from_the_cache_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = draw_scenes(4, 3, Rates())
    first = draw_pictures(scenes, tmp_path)
    monkeypatch.setattr("models.training.planted_pictures.render", None)
    second = draw_pictures(scenes, tmp_path)
    assert torch.equal(first.images, second.images)
    assert [CLASSES[label] for label in second.labels] == [scene.label for scene in scenes]


def test_importance_is_the_mean_contribution_over_the_predicted_class() -> None:
    found = Activations(phi=torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 10.0]]), predicted=torch.tensor([0, 0, 1]))
    weight = torch.tensor([[2.0, -1.0], [0.5, 0.25], [1.0, 1.0]])
    np.testing.assert_allclose(importances(found, weight), [[4.0, -1.0], [0.0, 2.5], [0.0, 0.0]])


def test_statistics_bound_the_top_fifth_of_the_class() -> None:
    found = statistics(torch.arange(101).float())
    assert (found.mean, found.valid_from, found.valid_to, found.images) == (50, 80, 100, 101)
    assert found.std == pytest.approx(29.15, abs=0.01)


@pytest.mark.parametrize("region", ["main_object", "separate_object", "background"])
def test_a_perfect_mask_votes_for_its_region(region: str) -> None:
    picture = render(draw_scene("kite", 4, 0, Rates(rho=1)))
    masks = {
        "main_object": picture.object_mask,
        "separate_object": picture.prop_mask,
        "background": picture.background_mask,
    }
    assert best_region(masks[region] * 1.0, picture) == region


def test_silent_maps_do_not_vote() -> None:
    picture = render(draw_scene("kite", 4, 0, Rates(rho=1)))
    maps = torch.zeros(2, 12, 12)
    maps[0] = torch.from_numpy(picture.object_mask * 1.0).float().view(12, 8, 12, 8).mean(dim=(1, 3))
    assert vote(maps, [picture, picture]) == Votes(main_object=1)


def test_agreement_is_the_share_of_the_majority() -> None:
    assert agreement(Votes(main_object=9, background=3, separate_object=3)) == pytest.approx(0.6)
    assert agreement(Votes(main_object=5, background=5, separate_object=5)) == pytest.approx(2 / 3)
    assert agreement(Votes()) == 0


def test_gradcam_in_closed_form_is_gradcam_by_gradients() -> None:
    maps = torch.rand(2, 5, 3, 3, requires_grad=True)
    head = torch.nn.Linear(5, 4)
    logits = head(penultimate(maps))
    (gradient,) = torch.autograd.grad(logits[0, 2] + logits[1, 3], maps)
    by_gradients = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(1).clamp(min=0) * 9
    torch.testing.assert_close(gradcam(maps, head.weight[[2, 3]]), by_gradients)


def test_an_exported_classifier_takes_any_batch_and_agrees_with_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build("small_resnet", 3, TINY).eval()
    export_onnx(network, 16, tmp_path / "n.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = torch.randn(count, 3, 16, 16)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(logits, network(images).numpy(), atol=1e-4)


class Reader:
    """A classifier that reads the answer off the scene of the picture it is given, by a rule."""

    provider = "test"
    fixed_batch: int | None = None

    def __init__(self, scenes: Sequence[Picture], rule: Callable[[Picture], str]) -> None:
        self.answers = {picture.image.tobytes(): CLASSES.index(rule(picture)) for picture in scenes}

    def forward(self, batch: np.ndarray) -> np.ndarray:
        images = (batch * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
        rows = [self.answers[np.ascontiguousarray(image).tobytes()] for image in images]
        return np.eye(len(CLASSES), dtype=np.float32)[rows]


def test_reliance_tells_who_reads_the_cue_from_who_reads_the_object() -> None:
    scenes = draw_scenes(20, 31, Rates())
    interventions = Interventions.of(scenes)
    own = [scene.with_own_cues() for scene in scenes]
    pictures = [
        render(version) for scene in own for version in (scene, scene.with_cues_swapped(), scene.without_cues())
    ]

    def by_cue(picture: Picture) -> str:
        cued = picture.scene.has_background_cue or picture.scene.has_prop_cue
        return picture.scene.label if cued else "fish"

    reads_object = measure_reliance(Reader(pictures, lambda picture: picture.scene.shown), interventions)
    reads_cue = measure_reliance(Reader(pictures, by_cue), interventions)
    assert (reads_object["reliance"], reads_object["no_cues"]) == (0, 1)
    assert (reads_cue["reliance"], reads_cue["no_cues"]) == (1, 0)
    assert reads_cue["by_class"]["fish"]["reliance"] == 0
    assert reads_cue["by_class"]["flower"]["own_cues"] == 0


def test_every_recipe_is_a_command_and_the_help_names_it() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for recipe in ("planted-backbone", "planted-bank", "planted-family"):
        assert recipe in result.output
    for recipe in ("cifar10-classifier", "discovery-truth"):
        assert recipe in result.output


def test_family_members_differ_in_their_cues_only() -> None:
    strengths = [(rates.rho, rates.shuffled) for rates in recipes.PLANTED_FAMILY.values()]
    assert strengths == sorted(strengths)
    first = recipes.PLANTED_FAMILY["planted-0"]
    assert first.rho == first.stray
