"""The family passes the kit and equals diffusers' pipeline; the task passes the kit and ends where it should."""

from __future__ import annotations

from pathlib import Path

import composer_pixart
import pytest
import torch
from composer_pixart.seed_walk import SeedWalk
from tiny_checkpoint import pixart

from composer import ComposerError
from composer.testing.conformance import FamilyTests, TaskTests

CONF = Path(composer_pixart.__file__).parent / "conf"


class TestPixArt(FamilyTests):
    info = "composer_pixart.info:INFO"
    side = 256

    def make(self):
        return pixart()

    def expected(self, pipe, prompts, steps, scale):
        pipe.set_progress_bar_config(disable=True)
        return pipe(
            list(prompts), [""] * len(prompts), num_inference_steps=steps, guidance_scale=scale, clean_caption=False,
            generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        ).images  # fmt: skip


class TestSeedWalk(TaskTests):
    families = ("sd", "flux")
    values = {"prompt": "a cat", "to_seed": 7, "images": 3, "seed_step": 0}
    option = CONF / "task" / "seed_walk.yaml"

    def make(self):
        return SeedWalk()

    def test_it_begins_and_ends_at_its_seeds(self):
        task = self.make()
        walk = self._request(task, "sd")
        assert walk.inputs["position"] == (0.0, 0.5, 1.0)
        assert (walk.inputs["from_seed"], walk.inputs["to_seed"]) == (0, 7)

    @pytest.mark.parametrize("values", [{"images": 1}, {"to_seed": -1}, {"to_seed": True}, {"to_seed": None}])
    def test_values_out_of_range_are_refused(self, values):
        key = next(iter(values))
        kit = type("Kit", (TestSeedWalk,), {"values": {**self.values, **values}})()
        with pytest.raises(ComposerError) as error:
            kit._request(self.make(), "sd")
        assert error.value.key == key
