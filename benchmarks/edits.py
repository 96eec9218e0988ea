"""Does the embedded model that edits do what instructions say, and keep the rest? `python benchmarks/edits.py`

Measured against the renderer's own truth, by the classifier of `adherence.py`, which saw nothing but renders. Each
case is a scene, one change of it and an instruction in words, none of them of the training set; colour × shape pairs
are any, those that no training image showed among them.

right: the image shows what the instruction asks: a new colour with the old shape, a thing at its new position and none
at the old one, nothing where a thing was removed, another ground or sky. kept: a thing that the instruction leaves
alone has its colour and shape at its position. backdrop: ground and sky are as they have to be. clean: no position
shows a thing that should not be there. `rendered` is what the classifier says of the renderer's own images after the
change, the best that can be reached.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from adherence import read, trained
from semantics import looked_at, written

import composer
from composer.tiny.edits import KINDS, Edit, possible, sample_edit
from composer.tiny.instructions import instruction
from composer.tiny.render import render
from composer.tiny.scenes import COLOURS, GROUNDS, POSITIONS, SHAPES, SIZES, SKIES, Thing, sample_scene

SIZE = 128
#: What must be reached: edits right, unmentioned things kept.
RIGHT, KEPT = 0.90, 0.95
NOTHING = len(COLOURS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--model", nargs="+", default=["model=tiny_flow"], help="words that choose the model")
    parser.add_argument("--guidance", type=float, help="default: the model's own")
    parser.add_argument("--steps", type=int, help="default: the model's own")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/adherence"))
    parser.add_argument("--sheet", type=Path, help="folder for images to look at")
    parser.add_argument("--quick", action="store_true", help="few rendered cases alone, by a hasty classifier")
    args = parser.parse_args()
    if args.quick:
        args.cases, args.cache = 18, Path(tempfile.mkdtemp())
    classifier = trained(args.cache, *((600, 20) if args.quick else ()))
    cases = [case(i) for i in range(args.cases)]
    before, truth = ([render(scene, SIZE).image for scene in some] for some in zip(*_scenes(cases)))
    print(f"rendered   {table(read(classifier, looked_at(np.stack(truth))).tolist(), cases)}", flush=True)
    if args.quick:
        return
    started = time.monotonic()
    results = edited(args, before, [words for _, words in cases])
    scores = table(read(classifier, looked_at(results)).tolist(), cases)
    print(f"edited     {scores}  {time.monotonic() - started:.0f} s", flush=True)
    if args.sheet:
        sheet(args.sheet, before, results, truth, cases)
    raise SystemExit(0 if scores.met else 1)


def case(i: int) -> tuple[Edit, str]:
    """A change and its instruction; the kinds take turns."""
    rng = np.random.default_rng((505, i))
    kind = list(KINDS)[i % len(KINDS)]
    scene = sample_scene(rng, "any")
    while kind not in possible(scene):
        scene = sample_scene(rng, "any")
    edit = sample_edit(scene, rng, "any", kind)
    return edit, instruction(edit, rng)[0]


def _scenes(cases: list[tuple[Edit, str]]) -> list[tuple]:
    return [(edit.before, edit.after) for edit, _ in cases]


def edited(args: argparse.Namespace, before: list[np.ndarray], words: list[str]) -> np.ndarray:
    """(N, 128, 128, 3) uint8, image i from seed i."""
    more = {name: value for name in ("guidance", "steps") if (value := getattr(args, name)) is not None}
    images = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (path, prompt) in enumerate(zip(written(folder, "before", before), words)):
            images += composer.compose(
                *args.model, "task=edit", "callbacks=[]", prompt=prompt, references=[path], seed=i, **more
            ).images
    return np.stack([np.asarray(image) for image in images])


class Scores:
    """What the classifier read, as fractions of the cases or things that they are about."""

    def __init__(self, answers: list[list[int]], cases: list[tuple[Edit, str]]) -> None:
        self.by_kind: dict[str, list[bool]] = {kind: [] for kind in KINDS}
        self.kept: list[bool] = []
        self.backdrop: list[bool] = []
        self.clean: list[bool] = []
        for row, (edit, _) in zip(answers, cases):
            self.by_kind[edit.kind].append(is_right(row, edit))
            others = [thing for i, thing in enumerate(edit.before.things) if i != edit.target]
            self.kept += [shows(row, thing) for thing in others]
            self.backdrop.append(row[-2:] == [GROUNDS.index(edit.after.ground), SKIES.index(edit.after.sky)])
            taken = {thing.position for thing in edit.after.things}
            self.clean.append(all(empty(row, position) for position in POSITIONS if position not in taken))

    @property
    def right(self) -> float:
        return float(np.mean([one for some in self.by_kind.values() for one in some]))

    @property
    def met(self) -> bool:
        return self.right >= RIGHT and float(np.mean(self.kept)) >= KEPT

    def __str__(self) -> str:
        kinds = "  ".join(f"{kind} {np.mean(some):.2f}" for kind, some in self.by_kind.items() if some)
        return (
            f"right {self.right:.3f}  kept {np.mean(self.kept):.3f} (of {len(self.kept)})  backdrop "
            f"{np.mean(self.backdrop):.3f}  clean {np.mean(self.clean):.3f}  {'met' if self.met else 'NOT MET'}  "
            f"[{kinds}]"
        )


def table(answers: list[list[int]], cases: list[tuple[Edit, str]]) -> Scores:
    return Scores(answers, cases)


def is_right(row: list[int], edit: Edit) -> bool:
    """Whether the image shows what the instruction asks."""
    if edit.kind == "ground":
        return row[-2] == GROUNDS.index(edit.after.ground)
    if edit.kind == "sky":
        return row[-1] == SKIES.index(edit.after.sky)
    old = edit.before.things[edit.target] if edit.target is not None else None
    if edit.thing is None:
        return old is not None and empty(row, old.position)
    met = shows(row, edit.thing)
    if edit.kind == "move" and old is not None:
        met &= empty(row, old.position)
    if edit.kind == "resize":
        met &= row[3 * POSITIONS.index(edit.thing.position) + 2] == SIZES.index(edit.thing.size)
    return met


def shows(row: list[int], thing: Thing) -> bool:
    at = 3 * POSITIONS.index(thing.position)
    return row[at : at + 2] == [COLOURS.index(thing.colour), SHAPES.index(thing.shape)]


def empty(row: list[int], position: str) -> bool:
    return row[3 * POSITIONS.index(position)] == NOTHING


def sheet(
    folder: Path, before: list[np.ndarray], results: np.ndarray, truth: list[np.ndarray], cases: list, count: int = 18
) -> None:
    """The first cases: before, edited, rendered; and their instructions."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    columns = [np.concatenate(row) for row in list(zip(before, results, truth))[:count]]
    Image.fromarray(np.concatenate(columns, 1)).save(folder / "edits.png")
    (folder / "edits.txt").write_text("\n".join(words for _, words in cases[:count]) + "\n")


if __name__ == "__main__":
    main()
