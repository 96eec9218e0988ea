"""Imports that are deferred: a run does without them, and each use gives what a plain import would give."""

from __future__ import annotations

import subprocess
import sys

import pytest

from composer.system.deferred import CONVERSIONS, DEFERRED
from composer.system.lazy_imports import LazyModule, find_module

DEFER = "import sys; from composer.system.deferred import defer_imports; defer_imports(); "
RUN = """
import sys
from composer.cli.main import main
from composer.system.lazy_imports import LazyModule
assert main(["steps=2", "height=64", "width=64", "callbacks=[]", "-q", "output.folder=out", *sys.argv[1:]]) == 0
print(*sorted(name for name, module in sys.modules.items() if isinstance(module, LazyModule)))
"""
ALL = {*DEFERRED, CONVERSIONS, "torch._dynamo"}
#: Every way to use a deferred module.
USES = {
    "from scipy.optimize import linear_sum_assignment as f; assert f([[1, 0], [0, 1]])[1].tolist() == [1, 0]": (),
    "from scipy import integrate; assert integrate.quad(lambda x: x, 0, 1)[0] == 0.5": (),
    "import torch; from torch.distributed.tensor import DTensor; assert not isinstance(torch.ones(1), DTensor)": (
        "torch.distributed.tensor",
    ),
    "from torch.distributed.tensor import Shard; assert Shard(1).dim == 1": (),
    "from torch.distributed.tensor import Shard; s = Shard(0); assert s.is_shard(0) and isinstance(s, Shard)": (),
    "from torch.distributed.tensor.placement_types import Shard; assert Shard(1).dim == 1": (),
    "import torch.distributed.tensor.parallel as p; p.ColwiseParallel()": (),
    "from torch.distributed.fsdp import FullyShardedDataParallel as F; assert isinstance(F, type)": (),
    f"from {CONVERSIONS} import _convert_kohya_flux_lora_to_diffusers as f; assert f": (CONVERSIONS,),
    "import torch; f = torch.compiler.disable(lambda x: x + 1); assert f(1) == 2": ("torch._dynamo",),
    "import torch; assert not isinstance(1, torch._dynamo.eval_frame.OptimizedModule)": ("torch._dynamo",),
    "import torch._dynamo.config as c; import torch; assert torch._dynamo.config is c and c.cache_size_limit": (),
    "from torch._dynamo import reset; reset()": (),
    "import torch, diffusers.utils.torch_utils; f = torch.compile(lambda x: x + 1, backend='eager'); "
    "assert f(torch.ones(1)).item() == 2": (),
    "import torch; f = torch.compiler.disable(lambda x: x + 1); g = torch.compile(lambda x: f(x) * 2, "
    "backend='eager'); "
    "assert g(torch.ones(1)).item() == 4": (),
    "import torch; f = torch.compiler.disable(lambda x: x + 1, recursive=False); "
    "g = torch.compile(lambda x: f(x) * 2, backend='eager'); assert g(torch.ones(1)).item() == 4": (),
    "import torch; m = torch.compile(torch.nn.Linear(1, 1)); "
    "assert isinstance(m, torch._dynamo.eval_frame.OptimizedModule)": (),
    "from torch._dynamo import allow_in_graph; f = allow_in_graph(len); import torch; torch._dynamo.reset(); "
    "from torch._dynamo.trace_rules import is_callable_allowed as a; assert a(len)": (),
    "import torch, torch.distributed; from composer.system.lazy_imports import bind_to_packages; bind_to_packages(); "
    "assert not isinstance(torch.ones(1), torch.distributed.tensor.DTensor)": ("torch.distributed.tensor",),
}


@pytest.mark.parametrize("name", sorted(ALL))
def test_entries_are_modules_of_today(name):
    """A module that a library gave up is named here."""
    assert find_module(name) is not None


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("name", [name for name, names in DEFERRED.items() if names])
def test_deferred_names_exist(name):
    names = [text.removesuffix("()") for text in DEFERRED[name]]
    code = f"from {name} import {', '.join(names)}; print({', '.join(f'callable({text})' for text in names)})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert set(done.stdout.split()) == {"True"}, done.stderr


def test_conversions_are_functions():
    """Names of a prefix are deferred; all of them are functions."""
    import inspect
    from importlib import import_module

    module = import_module(CONVERSIONS)
    named = [value for name, value in vars(module).items() if name.startswith(("_convert_", "_maybe_"))]
    assert len(named) > 20
    assert all(inspect.isfunction(value) for value in named)


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(use, marks=[pytest.mark.slow] if number not in (3, 12) else [], id=f"{number}")
        for number, use in enumerate(USES)
    ],
)
def test_every_use_works(use):
    """And what needs no loading leaves the module deferred."""
    stays = "; ".join(f"assert type(sys.modules[{name!r}]).__name__ != 'module', {name!r}" for name in USES[use])
    code = f"{DEFER}{use}; {stays or 'pass'}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # a complete run; benchmarks/startup.py shows the time
def test_a_run_loads_none_of_them(tmp_path):
    """A library that began to use one is named here; the run is slower then, and right."""
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, cwd=tmp_path)
    assert set(done.stdout.splitlines()[-1].split()) == ALL, done.stderr[-500:]


@pytest.mark.slow  # a complete run
def test_a_run_with_lora_finds_what_peft_reads(tmp_path):
    """PEFT reads `torch.distributed.tensor` as an attribute, and nobody has imported it."""
    import torch
    from safetensors.torch import save_file

    path = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    factors = {f"{path}.lora_A.weight": torch.ones(2, 96), f"{path}.lora_B.weight": torch.ones(96, 2)}
    save_file(factors, tmp_path / "change.safetensors")
    words = [sys.executable, "-c", RUN, "lora=change.safetensors"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "out/000.png").is_file(), done.stderr[-500:]


@pytest.mark.slow  # two complete runs
def test_images_are_those_of_plain_imports(tmp_path):
    from PIL import Image

    plain = "import composer; composer.compose(steps=2, height=64, width=64, callbacks=[]).image.save('plain.png')"
    for code in (RUN, plain):
        assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True).returncode == 0
    assert Image.open(tmp_path / "plain.png").tobytes() == Image.open(tmp_path / "out/000.png").convert("RGB").tobytes()


def test_substitutes_know_where_their_module_is():
    module = find_module("scipy.stats")
    assert module is not None
    assert LazyModule(module).__file__ == module.origin
