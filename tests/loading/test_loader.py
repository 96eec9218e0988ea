from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import original_layout
import pytest
import torch

from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.errors import ComposerError
from composer.loading.load_options import LoadOptions
from composer.loading.loader import load
from composer.loading.precision import DtypePlan
from composer.testing import pipelines
from composer.testing.image_files import pixels

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def single_file(tmp_path_factory) -> Path:
    return original_layout.save(pipelines.sd(), tmp_path_factory.mktemp("single") / "model.safetensors")


def test_a_single_file_equals_its_folder(compose, checkpoints, single_file):
    common = ["model=local", "steps=2", "height=64", "width=64", "prompt=a cat"]
    assert compose(*common, f"model.source={checkpoints['sd']}", "hydra.run.dir=folder").code == 0
    done = compose(*common, f"model.source={single_file}", f"model.config={checkpoints['sd']}", "hydra.run.dir=file")
    assert done.code == 0, done.err
    assert pixels("folder/000.png") == pixels("file/000.png")


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ComposerError, match="is of a layout that no family knows"):
        find_checkpoint(ModelSpec(name="local", source=str(tmp_path / "x.safetensors")))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x10\0\0\0\0\0\0\0{not json"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ComposerError, match="download it again"):
        find_checkpoint(ModelSpec(name="local", source=str(tmp_path / "x.safetensors")))


def test_a_second_load_is_warm(checkpoints):
    checkpoint = find_checkpoint(ModelSpec(name="local", source=str(checkpoints["sd"])))
    assert load(checkpoint, LoadOptions(DtypePlan(torch.float32), CPU)) is load(
        checkpoint, LoadOptions(DtypePlan(torch.float32), CPU)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_component_has_the_requested_precision(checkpoints, dtype):
    for family in ("sd", "flux", "ddpm"):
        pipe = load(
            find_checkpoint(ModelSpec(name="local", source=str(checkpoints[family]))),
            LoadOptions(DtypePlan(dtype), CPU),
        )
        models = [c for c in pipe.components.values() if isinstance(c, torch.nn.Module)]
        odd = {name for model in models for name, p in model.named_parameters() if p.dtype != dtype}
        # transformers keeps T5's `wo` in fp32 under fp16, where it overflows, whoever loads it
        assert models and all(name.endswith("wo.weight") and dtype == torch.float16 for name in odd)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("family", ["sd", "flux", "ddpm"])
def test_half_precision_runs(compose, checkpoints, family, precision):
    task = ["task=unconditional"] if family == "ddpm" else ["height=64", "width=64"]
    done = compose(
        "model=local",
        f"model.source={checkpoints[family]}",
        f"precision={precision}",
        "steps=2",
        "hydra.run.dir=out",
        *task,
    )
    assert done.code == 0, done.err


def hub_cache(home: Path, name: str, folder: Path, commit: str) -> None:
    """As the hub's library writes it."""
    repository = home / "hub" / f"models--someone--{name}"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)


PARTS = {"someone/tiny-vae": "", "someone/tiny-sd": "vae", "someone/tiny-sd/vae": "vae"}


def test_components_of_hub_ids_are_pinned_too(checkpoints, tmp_path):
    """In one process of its own, since the hub's library reads where its cache is when it is imported."""
    commits = {
        "tiny-vae": "89abcdef0123456789abcdef0123456789abcdef",
        "tiny-sd": "76543210fedcba9876543210fedcba9876543210",
    }
    hub_cache(tmp_path, "tiny-vae", checkpoints["sd"] / "vae", commits["tiny-vae"])
    hub_cache(tmp_path, "tiny-sd", checkpoints["sd"], commits["tiny-sd"])
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    words = ["model=local", f"model.source={checkpoints['sd']}", "steps=1"]
    values = [[*words, f"model.components.vae={part}", f"hydra.run.dir={n}"] for n, part in enumerate(PARTS)]
    values.append(["model=local", "model.source=someone/tiny-sd", "steps=1", "hydra.run.dir=complete"])
    code = "import json, sys; from composer.cli.main import main; lines = json.loads(sys.argv[1]); "
    code += "sys.exit(sum(main(words) for words in lines))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(values)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for n, (part, subfolder) in enumerate(PARTS.items()):
        result = json.loads((tmp_path / str(n) / "run.json").read_text())["model"]["components"]["vae"]
        assert result["commit"] == commits[part.split("/")[1]] and result["subfolder"] == subfolder, part
    model = json.loads((tmp_path / "complete" / "run.json").read_text())["model"]
    assert (model["source"], model["family"], model["commit"]) == ("someone/tiny-sd", "sd", commits["tiny-sd"])


@pytest.mark.slow  # the same once more, in a process of its own
def test_a_hub_id_is_found_in_the_cache_and_pinned_to_its_commit(checkpoints, tmp_path):
    """A hub cache as the hub's library writes it, read by the real code without a network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    hub_cache(tmp_path, "tiny-sd", checkpoints["sd"], commit)
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    words = ["model=local", "model.source=someone/tiny-sd", "steps=1", "hydra.run.dir=out"]
    done = subprocess.run(
        [sys.executable, "-m", "composer", *words], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    model = json.loads((tmp_path / "out" / "run.json").read_text())["model"]
    assert (model["source"], model["family"], model["commit"]) == ("someone/tiny-sd", "sd", commit)


@pytest.mark.parametrize("safety_checker", [True, False])
@pytest.mark.parametrize("family", [*pipelines.MAKERS, "safety"])
def test_what_is_put_together_is_what_from_pretrained_makes(checkpoints, tmp_path, family, safety_checker):
    source = checkpoints.get(family)
    if source is None:
        source = tmp_path / "safety"
        pipelines.sd(safety_checker=True).save_pretrained(source)
    spec = ModelSpec(name="it", source=str(source), safety_checker=safety_checker)
    mine = load(find_checkpoint(spec), LoadOptions(DtypePlan(torch.float32), torch.device("cpu")))
    without = {} if safety_checker or family != "safety" else {"safety_checker": None, "requires_safety_checker": False}
    theirs = type(mine).from_pretrained(source, **without)
    assert {**mine.config, "_name_or_path": ""} == {**theirs.config, "_name_or_path": ""}
    for name, component in theirs.components.items():
        assert type(getattr(mine, name)) is type(component), name
        if isinstance(component, torch.nn.Module):
            assert not getattr(mine, name).training and str(getattr(mine, name).config) == str(component.config)
