"""What is read from the source of classes is what the classes say."""

from __future__ import annotations

import inspect

import diffusers
import pytest
import torch

from composer.checks.signatures import METHODS, NO_SETTINGS, devices_of, scheduler_settings, vae_tile
from composer.config.catalogue import catalogue
from composer.config.search_path import packaged_conf
from composer.config.spec import Choice
from composer.config.targets import resolve

KNOWN = catalogue([packaged_conf()])
SCHEDULERS = sorted({content["_target_"] for content in KNOWN["scheduler"].values() if content["_target_"]})
OPTIONS = {
    f"{group}.{name}": KNOWN[group][name][name]["_target_"] for group in ("memory", "accel") for name in KNOWN[group]
}


@pytest.mark.parametrize("path", SCHEDULERS)
def test_settings_in_the_source_are_those_of_the_class(path):
    cls = getattr(diffusers, path.rpartition(".")[2])
    named = {name for method in METHODS for name in inspect.signature(getattr(cls, method)).parameters}
    assert scheduler_settings(path) in (None, named - NO_SETTINGS)


def test_most_schedulers_show_their_settings_by_their_source():
    assert sum(scheduler_settings(path) is not None for path in SCHEDULERS) >= len(SCHEDULERS) - 2


@pytest.mark.parametrize(
    "path", ["diffusers.UNet2DModel", "diffusers.NoSuchScheduler", "os.system", "diffusers", "", "diffusers.x y"]
)
def test_what_is_no_scheduler_shows_nothing(path):
    assert scheduler_settings(path) is None


@pytest.mark.parametrize("option", OPTIONS)
def test_devices_in_the_source_are_those_of_the_option(option):
    real = resolve(option.partition(".")[0], Choice(path=OPTIONS[option])).devices
    assert devices_of(OPTIONS[option]) in (None, real)


@pytest.mark.parametrize(
    "option", ["memory.xformers", "memory.model_offload", "memory.sequential_offload", "memory.group_offload"]
)
def test_options_for_gpus_alone_show_it_by_their_source(option):
    assert devices_of(OPTIONS[option]) == {"cuda"} | ({"xpu"} if "offload" in option else set())


#: That of HunyuanImage has no defaults; its tiles follow from a setting. Sounds have no tiles.
VAES = sorted(
    name
    for name in dir(diffusers)
    if name.startswith(("Autoencoder", "AsymmetricAutoencoder")) and not name.endswith(("HunyuanImage", "Audio"))
)


@pytest.mark.parametrize("name", VAES)
def test_tiles_in_the_source_of_a_vae_are_those_of_the_class(name):
    with torch.device("meta"):
        vae = getattr(diffusers, name)()
    sides = [getattr(vae, side, None) for side in ("tile_sample_min_size", "tile_sample_min_height")]
    expected = next((side for side in sides if side is not None), None)
    assert vae_tile(name) in (None, expected)
    if vae_tile(name) is None and expected is not None:  # it follows from the settings
        assert {"sample_size", "sample_height"} & set(vae.config)
