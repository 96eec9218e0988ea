"""Families are collected from entry points and their folder, and a checkpoint that two plugins claim is refused."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from composer.checkpoints import detection, layouts
from composer.checkpoints.detection import detect_family
from composer.checkpoints.layouts import FamilyInfo, Registration, families
from composer.config.plugins import Plugin
from composer.errors import ComposerError

ROOT = Path(__file__).resolve().parents[2]
DIT = {"transformer": "DiTTransformer2DModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
INFO = FamilyInfo(
    name="dit",
    family="x:Dit",
    denoiser=("transformer", "DiTTransformer2DModel"),
    pipeline="DiTPipeline",
    conditioned_on="class",
)


@pytest.fixture
def registered(monkeypatch):
    """Have plugins bring families, by the plugins' names."""

    def register(**infos: FamilyInfo) -> None:
        more = [
            Registration(info=info, provider=Plugin(name, f"composer-{name}", "1.0", f"composer_{name}", None))
            for name, info in infos.items()
        ]
        entries = (*layouts._own(), *more)
        monkeypatch.setattr(detection, "registrations", lambda: entries)
        monkeypatch.setattr(layouts, "registrations", lambda: entries)

    return register


def test_each_folder_holds_a_family_of_its_name():
    folders = {file.parent.name: file for file in (ROOT / "composer" / "families").glob("*/info.py")}
    assert len(folders) > 10
    for name in folders:
        info = families()[name]
        module, _, cls = info.family.partition(":")
        assert module.startswith(f"composer.families.{name}.") and hasattr(importlib.import_module(module), cls)


def test_a_plugins_family_is_detected(registered):
    assert detect_family("DiTPipeline", DIT, {}) is None
    registered(one=INFO)
    assert detect_family("DiTPipeline", DIT, {}) == "dit"
    assert detect_family("unknown", DIT, {}) == "dit"
    assert detect_family("SomeOtherPipeline", DIT, {}) is None


def test_the_main_pipeline_comes_before_others(registered):
    registered(one=replace(INFO, name="one", pipeline="Other", other_pipelines=("DiTPipeline",)), two=INFO)
    assert detect_family("DiTPipeline", DIT, {}) == "dit"


def test_two_plugins_that_claim_one_checkpoint_are_refused(registered):
    registered(one=INFO, two=replace(INFO, name="dit2"))
    with pytest.raises(
        ComposerError, match=r"dit of composer-one 1\.0 and dit2 of composer-two 1\.0 both claim it"
    ) as error:
        detect_family("DiTPipeline", DIT, {}, "folder")
    assert (error.value.key, error.value.value) == ("model.source", "folder")


def test_composers_own_families_come_first(registered):
    unet = {"unet": "UNet2DModel", "scheduler": "DDPMScheduler"}
    registered(one=replace(INFO, denoiser=("unet", "UNet2DModel"), pipeline="DDPMPipeline"))
    assert detect_family("DDPMPipeline", unet, {}) == "ddpm"
