"""Do the tasks of the embedded checkpoint do what prompts describe? `python benchmarks/semantics.py`

Measured against the renderer's own truth, by the classifier of `adherence.py`, which saw nothing but renders.

inpaint: a thing whose colour × shape no training image showed is requested by three words (`a red cone`), half of the
time over another thing, half in an empty position. It counts when colour and shape are right there. Every pixel
outside the mask must be the input file's own, to the byte.

depth2img: a scene's colours and ground are changed, by words that name no shape and no position, with the depth
estimated or given. Structure: correlation of the result's depth, as the estimator sees it, with the renderer's. The
empty ground alone reaches about .96, and that of another scene .92 to .94, so what counts is the correlation of what
is left when the ground's depth is taken away (`relief`; of another scene: .2); overlap is the intersection over union
of what is out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from adherence import QUESTIONS, read, trained
from PIL import Image
from torch import Tensor

import composer
from composer.checkpoints.sources import EMBEDDED
from composer.images.pixels import to_pixels
from composer.tiny import networks
from composer.tiny.render import box, render
from composer.tiny.scenes import COLOURS, GROUNDS, HELD_OUT, POSITIONS, SHAPES, Scene, make_thing, sample_scene

SIZE, SMALL = 128, 64
#: What must be reached.
INPAINTED, CORRELATED, RELIEF, RECOLOURED = 0.8, 0.8, 0.8, 0.95
#: Inverse depth (1/m) by which a pixel must be nearer than the empty ground to count as a thing.
MIN_RELIEF = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--schedulers", nargs="+", default=["euler"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/adherence"))
    parser.add_argument("--sheet", type=Path, help="folder for images to look at")
    args = parser.parse_args()
    classifier = trained(args.cache)
    met = [run(classifier, scheduler, args) for scheduler in args.schedulers for run in (inpaint, depth2img)]
    raise SystemExit(0 if all(met) else 1)


# --- inpainting
# ---------------------------------------------------------------------------------------------------------


def inpaint(classifier: torch.nn.Module, scheduler: str, args: argparse.Namespace) -> bool:
    started, cases = time.monotonic(), [inpaint_case(i) for i in range(args.cases)]
    with tempfile.TemporaryDirectory() as folder:
        images = written(folder, "image", [image for image, *_ in cases])
        masks = written(folder, "mask", [mask for _, mask, *_ in cases])
        prompts = [f"a {colour} {shape}" for *_, colour, shape in cases]
        results = generated(args, scheduler, "inpaint", prompt=prompts, image=images, mask=masks)
    answers = read(classifier, looked_at(results)).tolist()
    right = [
        row[3 * POSITIONS.index(position)] == COLOURS.index(colour)
        and row[3 * POSITIONS.index(position) + 1] == SHAPES.index(shape)
        for row, (_, _, position, colour, shape) in zip(answers, cases)
    ]
    kept = [bool((new[mask == 0] == old[mask == 0]).all()) for new, (old, mask, *_) in zip(results, cases)]
    over, beside = np.mean(right[0::2]), np.mean(right[1::2])
    met = np.mean(right) >= INPAINTED and all(kept)
    print(
        f"inpaint    {scheduler:9} right {np.mean(right):.3f} (over a thing {over:.3f}, empty position {beside:.3f})  "
        f"unmasked pixels untouched {sum(kept)}/{len(kept)}  {'met' if met else 'NOT MET'}  "
        f"{time.monotonic() - started:.0f} s",
        flush=True,
    )
    sheet(args, "inpaint", [(old, shaded(old, mask), new) for (old, mask, *_), new in zip(cases, results)])
    return bool(met)


def inpaint_case(i: int) -> tuple[np.ndarray, np.ndarray, str, str, str]:
    """Image, mask, position of the mask, and the requested colour and shape."""
    rng = np.random.default_rng((303, i))
    while True:
        scene = sample_scene(rng, "any", 1)
        (thing,) = scene.things
        colour, shape = sorted(HELD_OUT)[i // 2 % len(HELD_OUT)]
        if i % 2 == 0 and thing.colour != colour and thing.shape != shape:
            covered = thing
            break
        if i % 2 == 1 and thing.position != "center":
            covered = make_thing(rng, colour, shape, "medium", "left" if thing.position == "right" else "right")
            break
    rows, cols = box(covered, SIZE)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[max(rows.start - 6, 0) : rows.stop + 6, max(cols.start - 6, 0) : cols.stop + 6] = 255
    return render(scene, SIZE).image, mask, covered.position, colour, shape


# --- depth
# --------------------------------------------------------------------------------------------------------------


def depth2img(classifier: torch.nn.Module, scheduler: str, args: argparse.Namespace) -> bool:
    cases = [depth_case(i) for i in range(args.cases)]
    rendered = [render(scene, SIZE) for scene, *_ in cases]
    near = np.stack([1 / one.depth for one in rendered])
    empty = np.stack([1 / render(empty_of(scene), SIZE).depth for scene, *_ in cases])
    met = True
    for given in (False, True):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            inputs = {"image": written(folder, "image", [one.image for one in rendered])}
            if given:
                inputs["depth"] = written(
                    folder, "depth", [(65535 * row / row.max()).astype(np.uint16) for row in near]
                )
            results = generated(args, scheduler, "depth2img", prompt=[prompt for _, prompt, _ in cases], **inputs)
        seen, truth, ground = estimated(results), pooled(near), pooled(empty)
        correlation, relief = correlated(seen, truth), correlated(seen - ground, truth - ground)
        overlap = np.mean([iou(a - g > MIN_RELIEF, b - g > MIN_RELIEF) for a, b, g in zip(seen, truth, ground)])
        colours = recoloured(classifier, results, cases)
        good = correlation >= CORRELATED and relief >= RELIEF and colours >= RECOLOURED
        met &= bool(good)
        print(
            f"depth2img  {scheduler:9} depth {'given' if given else 'estimated':9}  correlation {correlation:.3f}  "
            f"relief {relief:.3f}  "
            f"overlap of things {overlap:.3f}  colours as requested {colours:.3f}  {'met' if good else 'NOT MET'}  "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        sheet(args, f"depth2img-{'given' if given else 'estimated'}", [(a.image, b) for a, b in zip(rendered, results)])
    return met


def depth_case(i: int) -> tuple[Scene, str, dict[str, str]]:
    """A scene, words that change its colours, and the new colours by position."""
    rng = np.random.default_rng((404, i))
    scene = sample_scene(rng, "any", 1 + i % 2)
    colours = {thing.position: str(rng.choice([c for c in COLOURS if c != thing.colour])) for thing in scene.things}
    ground = str(rng.choice([g for g in GROUNDS if g != scene.ground]))
    nouns = [f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} object" for colour in colours.values()]
    return scene, f"{' and '.join(nouns)}, on {ground}", colours


def empty_of(scene: Scene) -> Scene:
    from dataclasses import replace

    return replace(scene, things=())


def recoloured(classifier: torch.nn.Module, results: np.ndarray, cases: list) -> float:
    answers = read(classifier, looked_at(results)).tolist()
    return float(
        np.mean(
            [
                row[3 * POSITIONS.index(position)] == COLOURS.index(c)
                for row, (_, _, new) in zip(answers, cases)
                for position, c in new.items()
            ]
        )
    )


@torch.no_grad()
def estimated(results: np.ndarray) -> np.ndarray:
    """Inverse depth (N, 64, 64) in 1/m, by the checkpoint's own estimator."""
    from composer.tiny.estimator_stage import NEAR
    from composer.tiny.render import FAR

    model = (
        type(networks.depth_estimator())
        .from_pretrained(EMBEDDED / "depth" / "depth_estimator", dtype=torch.float32)
        .eval()
    )
    x = F.interpolate(to_pixels([Image.fromarray(image) for image in results]), size=SMALL, mode="area")
    guess = torch.cat([model(part).predicted_depth for part in x.split(50)]).numpy()
    return guess * (1 / NEAR - 1 / FAR) + 1 / FAR


def pooled(maps: np.ndarray) -> np.ndarray:
    return F.avg_pool2d(torch.from_numpy(maps.astype(np.float32))[:, None], SIZE // SMALL)[:, 0].numpy()


def correlated(some: np.ndarray, others: np.ndarray) -> float:
    """Mean over images."""
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(some, others)]))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


# --- images -----------------------------------------------------------------------------------------------------------


def generated(args: argparse.Namespace, scheduler: str, task: str, **lists: list[str]) -> np.ndarray:
    """(N, 128, 128, 3) uint8, image i from seed i."""
    images = []
    for start in range(0, args.cases, args.batch):
        part = {name: values[start : start + args.batch] for name, values in lists.items()}
        images += composer.compose(
            f"task={task}", f"scheduler={scheduler}", "callbacks=[]", steps=args.steps, seed=start, **part
        ).images
    return np.stack([np.asarray(image) for image in images])


def looked_at(results: np.ndarray) -> Tensor:
    """What the classifier takes, (N, 3, 64, 64) in −1 … 1."""
    assert len(QUESTIONS) == 3 * len(POSITIONS) + 2
    return F.interpolate(torch.from_numpy(results).permute(0, 3, 1, 2).float() / 127.5 - 1, size=SMALL, mode="area")


def written(folder: str, name: str, arrays: list[np.ndarray]) -> list[str]:
    paths = [str(Path(folder) / f"{name}-{i}.png") for i in range(len(arrays))]
    for path, array in zip(paths, arrays):
        Image.fromarray(array).save(path)
    return paths


def shaded(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None] > 0, 128, image).astype(np.uint8)


def sheet(args: argparse.Namespace, name: str, rows: list[tuple[np.ndarray, ...]], count: int = 12) -> None:
    """The first cases side by side."""
    if args.sheet:
        args.sheet.mkdir(parents=True, exist_ok=True)
        columns = [np.concatenate(row) for row in rows[:count]]
        Image.fromarray(np.concatenate(columns, 1)).save(args.sheet / f"{name}.png")


if __name__ == "__main__":
    main()
