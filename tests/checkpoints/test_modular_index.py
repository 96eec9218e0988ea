"""The index of Modular Diffusers: components in the folder, in other repositories, and nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from zoo import modular

from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.errors import ComposerError


@pytest.fixture(scope="module")
def zimage(tmp_path_factory) -> Path:
    return modular.write("zimage", tmp_path_factory.mktemp("modular_index") / "zimage")


@pytest.fixture
def changed(zimage, tmp_path):
    """A copy of the checkpoint with another index."""

    def make(without: str | None = None, **entries: Any) -> Path:
        folder = tmp_path / "changed"
        folder.mkdir()
        for part in zimage.iterdir():
            if part.is_dir() and part.name != without:
                (folder / part.name).symlink_to(part)
        index = json.loads((zimage / "modular_model_index.json").read_text()) | entries
        (folder / "modular_model_index.json").write_text(json.dumps(index))
        return folder

    return make


def entry(where: str | None, subfolder: str = "vae") -> list[Any]:
    hint = ["diffusers", "AutoencoderKL"]
    return [*hint, {"pretrained_model_name_or_path": where, "subfolder": subfolder, "type_hint": hint}]


def find(folder: Path, **more: Any) -> Any:
    return find_checkpoint(ModelSpec(name="local", source=str(folder), **more))


def test_a_modular_checkpoint_is_described(zimage):
    checkpoint = find(zimage)
    assert (checkpoint.engine, checkpoint.pipeline) == ("modular", "ZImageModularPipeline")
    assert checkpoint.blocks == "ZImageAutoBlocks"
    assert checkpoint.classes["transformer"] == "ZImageTransformer2DModel" and not checkpoint.component_overrides


def test_what_is_in_the_folder_comes_from_it_wherever_the_index_points(changed):
    checkpoint = find(changed(vae=entry("owner/elsewhere")))
    assert checkpoint.classes["vae"] == "AutoencoderKL" and not checkpoint.component_overrides


def test_a_component_of_another_folder_is_found(changed, zimage):
    checkpoint = find(changed(without="vae", vae=entry(str(zimage))))
    assert checkpoint.component_overrides["vae"].folder == zimage / "vae"
    assert checkpoint.engine == "modular"


def test_a_component_that_the_user_names_comes_before_the_reference(changed, zimage):
    folder = changed(without="vae", vae=entry("owner/elsewhere"))
    assert find(folder, components={"vae": str(zimage / "vae")}).component_overrides["vae"].folder == zimage / "vae"


REFUSED: list[tuple[str | None, dict[str, Any], str]] = [
    ("vae", {"vae": entry("/no/such/folder")}, "its vae is to come from there: there is no such folder"),
    (None, {"auto_map": {"ModularPipelineBlocks": "block.Mine"}}, "names code of its own"),
    (None, {"vae": ["os", "system", {"pretrained_model_name_or_path": None}]}, "its vae is to come from os"),
]


@pytest.mark.parametrize(("without", "entries", "reason"), REFUSED)
def test_what_can_not_be_loaded_is_refused(changed, without, entries, reason):
    with pytest.raises(ComposerError, match=reason):
        find(changed(without=without, **entries))
