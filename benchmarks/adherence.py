"""Does the embedded checkpoint generate what prompts describe? `python benchmarks/adherence.py`

A classifier, trained on rendered scenes alone and never on a generated image, reads colour, shape and size at each
position, ground and sky. Prompts are full captions of random scenes; `held out` are colour × shape pairs that no
training image of the checkpoint showed. A prompt counts as met when every thing it names has its colour and shape at
its position, and no position shows a thing that was not named.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import composer
from composer.tiny.captions import caption
from composer.tiny.data import images, scenes
from composer.tiny.scenes import COLOURS, GROUNDS, POSITIONS, SHAPES, SIZES, SKIES, Scene

SIZE = 64  # pixels that the classifier looks at
#: Answers for each position (the last colour is "nothing there"), then for the backdrop.
QUESTIONS = (len(COLOURS) + 1, len(SHAPES), len(SIZES)) * len(POSITIONS) + (len(GROUNDS), len(SKIES))
NOTHING = len(COLOURS)
SKIP = -1  # shape and size of nothing
SETS = {
    "seen, one thing": ("seen", 1),
    "seen, two": ("seen", 2),
    "held out, one thing": ("held_out", 1),
    "held out, two": ("held_out", 2),
}
TARGETS = {"seen": 0.97, "held_out": 0.92}
BACKDROP = 0.95


class Classifier(nn.Module):
    """Images (B, 3, 64, 64) in −1 … 1 → one row of logits for each question."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((3, 32), (32, 64), (64, 96), (96, 128)):
            layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.GroupNorm(8, outside), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(128, 64, 1), nn.SiLU(), nn.Flatten(), nn.Dropout(0.1))
        self.head = nn.Linear(64 * 16, sum(QUESTIONS))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.body(x)).split(QUESTIONS, -1)


def labels(scene: Scene) -> list[int]:
    """The right answers."""
    things = {thing.position: thing for thing in scene.things}
    answers = []
    for position in POSITIONS:
        thing = things.get(position)
        answers += (
            [COLOURS.index(thing.colour), SHAPES.index(thing.shape), SIZES.index(thing.size)]
            if thing
            else [NOTHING, SKIP, SKIP]
        )
    return [*answers, GROUNDS.index(scene.ground), SKIES.index(scene.sky)]


def trained(folder: Path, count: int = 8000, steps: int = 1500) -> Classifier:
    """Train on scenes of any pairs, blurred and jittered a little, or load what an earlier run trained."""
    model, path = Classifier(), folder / "classifier.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    torch.manual_seed(0)
    data = images(folder, count, 101, SIZE, "any", workers=os.cpu_count() or 1).images
    answers = torch.tensor([labels(scene) for scene in scenes(count, 101, "any")])
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for step in range(steps):
        pick = torch.randint(0, count - 500, (64,))
        x = disturbed(torch.from_numpy(np.asarray(data[pick.numpy()])).permute(0, 3, 1, 2).float() / 127.5 - 1)
        loss = sum(F.cross_entropy(guess, answers[pick, k], ignore_index=SKIP) for k, guess in enumerate(model(x)))
        loss.backward()
        optimizer.step(), schedule.step(), optimizer.zero_grad()
        if step % 300 == 299:
            print(f"classifier {step + 1}/{steps}  loss {float(loss):.3f}", flush=True)
    model.eval()
    test = torch.from_numpy(np.asarray(data[-500:])).permute(0, 3, 1, 2).float() / 127.5 - 1
    print("classifier on unseen renders:", report(score(read(model, test), scenes(count, 101, "any")[-500:])))
    torch.save(model.state_dict(), path)
    return model


def disturbed(x: Tensor) -> Tensor:
    """What a VAE does to an image, roughly: a little blur, noise and another brightness."""
    if torch.rand(()) < 0.5:
        x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    brightness = 1 + 0.1 * torch.randn(len(x), 1, 1, 1)
    return x * brightness + 0.05 * torch.rand(()) * torch.randn_like(x)


@torch.no_grad()
def read(model: Classifier, x: Tensor) -> Tensor:
    """Answers (B, questions)."""
    return torch.cat([torch.stack([guess.argmax(-1) for guess in model(part)], 1) for part in x.split(100)])


def score(answers: Tensor, scenes_shown: list[Scene]) -> dict[str, float]:
    """prompts: all things right and nothing else there; things, colours, shapes, sizes: of those named; ground; sky."""
    counts: dict[str, list[bool]] = {
        name: [] for name in ("prompts", "things", "colours", "shapes", "sizes", "ground", "sky")
    }
    for row, scene in zip(answers.tolist(), scenes_shown):
        right, met = labels(scene), True
        for position in range(len(POSITIONS)):
            colour, shape, size = (row[3 * position + k] == right[3 * position + k] for k in range(3))
            if right[3 * position] == NOTHING:
                met &= colour
                continue
            met &= colour and shape
            for name, value in (("things", colour and shape), ("colours", colour), ("shapes", shape), ("sizes", size)):
                counts[name].append(value)
        counts["prompts"].append(met)
        counts["ground"].append(row[-2] == right[-2])
        counts["sky"].append(row[-1] == right[-1])
    return {name: float(np.mean(values)) for name, values in counts.items()}


def generate_images(prompts: list[str], scheduler: str, steps: int, batch: int, model: Sequence[str] = ()) -> Tensor:
    """Generate with composer; images (N, 3, 64, 64) in −1 … 1, image i from seed i."""
    images = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        images += composer.compose(
            *model, f"scheduler={scheduler}", "callbacks=[]", prompt=part, steps=steps, seed=start
        ).images
    pixels = np.stack([np.asarray(image) for image in images])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(x, size=SIZE, mode="area")


def report(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in scores.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=200, help="for each of the four sets")
    parser.add_argument("--schedulers", nargs="+", default=["euler", "ddim", "dpmpp_2m"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", nargs="*", default=[], help="words that choose it, such as model=tiny_flow")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/adherence"))
    args = parser.parse_args()
    model = trained(args.cache)
    failed = []
    for scheduler in args.schedulers:
        for name, (pairs, things) in SETS.items():
            started, those = time.monotonic(), [scene for scene in scenes_with(args.prompts, pairs, things)]
            prompts = [caption(scene, np.random.default_rng(i), full=True)[0] for i, scene in enumerate(those)]
            scores = score(read(model, generate_images(prompts, scheduler, args.steps, args.batch, args.model)), those)
            met = scores["prompts"] >= TARGETS[pairs] and min(scores["ground"], scores["sky"]) >= BACKDROP
            failed += [] if met else [(scheduler, name)]
            print(
                f"{scheduler:9} {name:20} {report(scores)}  {'met' if met else 'NOT MET'}  "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    print(f"{len(failed)} of {len(args.schedulers) * len(SETS)} sets not met {failed or ''}")
    raise SystemExit(bool(failed))


def scenes_with(count: int, pairs: str, things: int) -> list[Scene]:
    from composer.tiny.scenes import sample_scene

    return [sample_scene(np.random.default_rng((202, things, i)), pairs, things) for i in range(count)]


if __name__ == "__main__":
    main()
