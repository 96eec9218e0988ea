"""Does a LoRA teach the embedded checkpoint a word? And is a training that was killed the same?

The word `zorb` is given to a colour that the renderer can make and that the checkpoint never saw, a teal. 32 rendered
scenes with a zorb thing and 32 ordinary ones are the data. Then images of held-out scenes are generated, with the word
and with an ordinary colour in its place, and judged by the renderer: the scene of the prompt is rendered in each of
nine colours, and the one that is nearest to the generated image, in the middle of the thing, is the colour that it has.
`--method textual_inversion` gives the word to purple, which the checkpoint can make, as one vector.

    python benchmarks/training.py            (8 CPU minutes)
    python benchmarks/training.py --quick    (few steps and images: proves the script, not the point)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import composer
from composer.tiny.captions import caption
from composer.tiny.render import SURFACES, render
from composer.tiny.scenes import COLOURS, Scene, sample_scene

WORD, SIZE = "zorb", 128
#: Surface of a zorb thing, RGB in [0, 1], by method: one that the checkpoint never saw, and one that it can make.
SURFACE = {"lora": (0.05, 0.72, 0.70), "textual_inversion": SURFACES["purple"]}
SETTINGS = {
    "lora": ["rank=16", "lr=1e-3", "steps=400", "batch=12"],
    "textual_inversion": ["lr=2e-2", "steps=250", "batch=8"],
}
#: How sample images and those that are judged are made.
RUN = {"scheduler": "dpmpp_2m", "steps": 10, "callbacks": []}


def coloured(scene: Scene, surface: tuple[float, float, float]) -> Scene:
    """A scene whose things have another surface."""
    things = []
    for thing in scene.things:
        tint = tuple(float(a - b) for a, b in zip(surface, SURFACES["white"]))
        things.append(replace(thing, colour="white", tint=tint))
    return replace(scene, things=tuple(things))


def worded(scene: Scene, colour: str, seed: int) -> str:
    """A complete caption of a scene of one thing, with a word for its colour."""
    named = replace(scene, things=(replace(scene.things[0], colour="purple"),))
    return (
        caption(named, np.random.default_rng(seed), full=True)[0]
        .replace("a purple", f"a {colour}")
        .replace("purple", colour)
    )


def write_data(folder: Path, method: str, count: int) -> None:
    """Render half of the images with the word, and half without."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for index in range(2 * count):
        scene = sample_scene(rng, "seen", 1 if index < count else None)
        if index < count:
            surface = tuple(np.clip(np.array(SURFACE[method]) + rng.uniform(-0.03, 0.03, 3), 0, 1))
            pixels, text = render(coloured(scene, surface), SIZE).image, worded(scene, WORD, index)
        elif method == "textual_inversion":
            continue  # nothing but the word learns
        else:
            pixels, text = render(scene, SIZE).image, caption(scene, np.random.default_rng(index))[0]
        Image.fromarray(pixels).save(folder / f"{index:03}.png")
        (folder / f"{index:03}.txt").write_text(text)


def held_out(count: int) -> list[Scene]:
    """Scenes of one thing that the data does not have."""
    rng = np.random.default_rng(1007)
    return [sample_scene(rng, "seen", 1) for _ in range(count)]


def judged(image: Image.Image, scene: Scene, surfaces: dict[str, tuple[float, float, float]]) -> str:
    """The colour of the thing, by renderings of the scene in each colour."""
    rendered = {name: render(coloured(scene, surface), SIZE) for name, surface in surfaces.items()}
    mask = next(iter(rendered.values())).masks[0] > 0.99
    rows, columns = np.nonzero(mask)
    middle, reach = (rows.mean(), columns.mean()), 0.3 * np.sqrt(mask.sum())
    inside = [(r - middle[0]) ** 2 + (c - middle[1]) ** 2 < reach**2 for r, c in zip(rows, columns)]
    where = rows[inside], columns[inside]
    seen = np.asarray(image.convert("RGB"), float)[where].mean(0)
    return min(rendered, key=lambda name: float(np.linalg.norm(seen - rendered[name].image[where].mean(0))))


def train(folder: Path, data: Path, words: list[str], kill_at: int | None = None) -> dict:
    """Train in a process of its own, which is killed after a number of steps, if so."""
    line = [sys.executable, "-m", "composer", "train", *words, f"data={data}", f"output.folder={folder}", "--json"]
    started, usage = time.monotonic(), os.times()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    while kill_at is not None and process.poll() is None:
        losses = folder / "loss.jsonl"
        if losses.exists() and len(losses.read_text().splitlines()) >= kill_at:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.01)
    output = process.communicate()[0]
    after = os.times()
    if kill_at is not None:
        return {"killed": process.returncode == -signal.SIGKILL}
    if process.returncode:
        raise SystemExit(f"the training failed: {output}")
    facts = json.loads(output)
    cpu = after.children_user + after.children_system - usage.children_user - usage.children_system
    return {**facts, "cpu": cpu, "wall": time.monotonic() - started}


def resumed_is_the_same(folder: Path, data: Path, words: list[str]) -> None:
    """A short training, unbroken and killed twice."""
    words = [*words, "steps=12", "batch=2", "save_every=3", "sample_every=0", "fresh=true"]
    complete = train(folder / "complete", data, words)
    killed = [
        train(folder / "killed", data, words, kill_at=4),
        train(folder / "killed", data, [*words[:-1]], kill_at=8),
    ]
    again = train(folder / "killed", data, words[:-1])
    files = [next(Path(facts["folder"]).glob("*.safetensors")).read_bytes() for facts in (complete, again)]
    losses = [(Path(facts["folder"]) / "loss.jsonl").read_text() for facts in (complete, again)]
    same = hashlib.sha256(files[0]).hexdigest() == hashlib.sha256(files[1]).hexdigest() and losses[0] == losses[1]
    print(
        f"killed {sum(fact['killed'] for fact in killed)} times, resumed at step {again['resumed']} of 12: "
        f"file and losses {'the same to the bit' if same else 'DIFFERENT'}",
        flush=True,
    )


def generate(prompts: list[str], batch: int, **values: object) -> list[Image.Image]:
    """Image i has the seed i."""
    images: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        images += composer.compose(prompt=prompts[start : start + batch], seed=start, **RUN, **values).images
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--method", choices=list(SETTINGS), default="lora")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/training"))
    args = parser.parse_args()
    count, prompts = (2, 2) if args.quick else (32, 50)
    folder = args.out / ("quick" if args.quick else "complete") / args.method
    data = folder / "data"
    write_data(data, args.method, count)
    words = [args.method, *SETTINGS[args.method], f"word={WORD}", "scheduler=dpmpp_2m", "sample_steps=10"]
    if args.quick:
        words = [word for word in words if not word.startswith(("steps=", "batch="))] + ["steps=2", "batch=2"]
    facts = train(folder / "trained", data, words)
    print(
        f"{args.method}: {facts['steps']} steps on {facts['images']} images, loss {facts['loss']:.4f}, "
        f"{facts['cpu']:.0f} CPU s, {facts['wall']:.0f} s",
        flush=True,
    )
    resumed_is_the_same(folder, data, [args.method, *SETTINGS[args.method][:1], f"word={WORD}"])
    report(args.method, facts["files"][0], prompts, folder)


def report(method: str, file: str, count: int, folder: Path) -> None:
    """Judge images with the word and without, over the scales of a LoRA."""
    surfaces = {name: SURFACES[name] for name in COLOURS} | {WORD: SURFACE[method]}
    if method == "textual_inversion":
        del surfaces["purple"]
    scenes = held_out(count)
    colours = [scene.things[0].colour for scene in scenes]
    taught = [worded(scene, WORD, index) for index, scene in enumerate(scenes)]
    ordinary = [worded(scene, colour, index) for index, (scene, colour) in enumerate(zip(scenes, colours))]
    ways: dict[str, dict] = {"none": {}, **{f"{s}": {"lora": file, "lora.scale": s} for s in (0, 0.5, 1)}}
    if method == "textual_inversion":
        ways = {"none": {}, "1": {"embedding": file}}
        colours = [WORD if colour == "purple" else colour for colour in colours]
    print(f"\n{count} held-out scenes; far: mean difference of the ordinary images from those without it, of 255\n")
    print(f"| scale | `{WORD}`: is {WORD} | a colour: is {WORD} | a colour: is it | far |\n|---|---|---|---|---|")
    base: list[np.ndarray] = []
    for way, values in ways.items():
        shown = [generate(texts, 12, **values) for texts in (taught, ordinary)]
        answers = [[judged(image, scene, surfaces) for image, scene in zip(images, scenes)] for images in shown]
        pixels = [np.asarray(image, float) for image in shown[1]]
        base = base or pixels
        far = np.mean([np.abs(one - other).mean() for one, other in zip(pixels, base)])
        rates = (
            np.mean([name == WORD for name in answers[0]]),
            np.mean([name == WORD for name, colour in zip(answers[1], colours) if colour != WORD]),
            np.mean([name == colour for name, colour in zip(answers[1], colours)]),
        )
        print(f"| {way} | {' | '.join(f'{rate:.3f}' for rate in rates)} | {far:.2f} |", flush=True)
        sheet = Image.new("RGB", (12 * SIZE, 2 * SIZE))
        for row, images in enumerate(shown):
            for column, image in enumerate(images[:12]):
                sheet.paste(image, (column * SIZE, row * SIZE))
        sheet.save(folder / f"scale-{way}.png")


if __name__ == "__main__":
    main()
