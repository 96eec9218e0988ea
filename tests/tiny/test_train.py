"""The trainer end to end at a handful of steps: it makes checkpoints that composer runs, and resumes to the same
weights.
"""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

from composer.tiny import loop as loop_module
from composer.tiny.data import scenes
from composer.tiny.loop import Loop, Muon
from composer.tiny.networks import unconditional_unet
from composer.tiny.render import render
from composer.tiny.train import main
from composer.tiny.unconditional_stage import grow


@pytest.mark.slow
def test_training_makes_checkpoints_that_run(tmp_path, compose):
    stages = (
        "vae", "unet", "unconditional", "unconditional64", "inpaint", "depth", "estimator", "upscale", "flow",
        "flow-text",
    )  # fmt: skip
    steps = [word for stage in stages for word in (f"--{stage}-steps", "2")]
    main(
        [
            "--work",
            str(tmp_path / "work"),
            "--out",
            str(tmp_path / "out"),
            "--size",
            "64",
            "--scenes",
            "600",
            "--threads",
            "1",
            *steps,
        ]
    )
    base, out = ["model=local", f"model.source={tmp_path / 'out' / 'text2img'}"], tmp_path / "out"
    depth = [f"model.components.{name}={out / 'depth'}" for name in ("unet", "depth_estimator", "feature_extractor")]
    runs = {
        "text2img": base,
        "unconditional": ["model=local", f"model.source={out / 'unconditional64'}"],
        "inpaint": [*base, f"model.components.unet={out / 'inpaint'}"],
        "depth2img": [*base, *depth],
        "upscale": [*base, f"model.components.unet={out / 'upscale'}", "strength=1"],
        "edit": ["model=local", f"model.source={out / 'flow'}", "model.size=64", "prompt=make the cone blue"],
    }
    image = tmp_path / "scene.png"
    Image.fromarray(render(scenes(1, 1)[0], 64).image).save(image)
    runs["edit"].append(f"references={image}")
    for task, words in runs.items():
        done = compose(*words, f"task={task}", "steps=1", f"hydra.run.dir={task}")
        assert done.code == 0, done.err


def regression(folder, steps: int) -> Loop:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 2))
    loop = Loop("toy", model, folder, steps=steps, lr=1e-2, warmup=2)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    loop.loss = lambda: (model(x[torch.randint(0, 64, (16,))]) - x[:16, :2]).square().mean()
    return loop


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    for folder in ("complete", "parts"):
        (tmp_path / folder).mkdir()
    complete = regression(tmp_path / "complete", 12)
    complete.run(complete.loss)

    first = regression(tmp_path / "parts", 12)
    monkeypatch.setattr(loop_module, "SAVE_EVERY", 0.0)

    class Stop(Exception):
        pass

    def stop_at_seven():
        if first.done == 7:
            raise Stop
        return first.loss()

    with pytest.raises(Stop):
        first.run(stop_at_seven)
    second = regression(tmp_path / "parts", 12)
    assert second.done == 7
    second.run(second.loss)
    for a, b in zip(complete.module.parameters(), second.module.parameters()):
        assert torch.equal(a, b)


def test_a_finished_stage_returns_at_once(tmp_path):
    loop = regression(tmp_path, 3)
    loop.run(loop.loss)
    again = regression(tmp_path, 3)
    again.run(lambda: pytest.fail("took a step"))
    assert again.done == 3


def test_muon_steps_by_an_orthogonal_matrix():
    weight = nn.Parameter(torch.zeros(6, 6))
    weight.grad = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=1.0, weight_decay=0.0).step()
    singular = torch.linalg.svdvals(weight.detach()) / (0.2 * 6**0.5)
    assert ((singular > 0.6) & (singular < 1.3)).all()  # five Newton–Schulz steps get that near to 1


def test_a_grown_model_has_the_weights_of_the_small_one_inside():
    torch.manual_seed(0)
    small = unconditional_unet(32)
    large = grow(small)
    assert large.config.sample_size == 64
    for part in ("conv_in", "conv_out", "time_embedding", "mid_block"):
        assert same(getattr(small, part), getattr(large, part)), part
    for number, block in enumerate(small.down_blocks):
        assert same(block, large.down_blocks[number + 1])
    for number, block in enumerate(small.up_blocks[:-1]):
        assert same(block, large.up_blocks[number])
    assert large(torch.zeros(1, 3, 64, 64), 5).sample.shape == (1, 3, 64, 64)


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())
