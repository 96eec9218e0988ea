"""memory=auto takes the fastest options that should fit, says so, and goes one step further when memory runs out all
the same.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.loading.precision import DtypePlan
from composer.options.base import OptionContext
from composer.options.memory.auto import Auto, memory_steps
from composer.options.memory.estimate import estimate
from composer.system import memory
from composer.testing.conformance import same

LARGE = ("height=256", "width=256", "images=2", "steps=2")


def setting(*words: str, device: str = "cpu") -> OptionContext:
    return OptionContext(
        checked=check(read(compose_config(list(words)))), device=torch.device(device), dtypes=DtypePlan(torch.float32)
    )


def names(options) -> list[str]:
    return [option.name for option in options]


def test_the_ladder_goes_from_fast_to_sparing():
    assert [names(rung) for rung, _ in memory_steps(setting(*LARGE))] == [
        [],
        ["vae_slicing"],
        ["vae_slicing", "vae_tiling"],
    ]
    assert [names(rung) for rung, _ in memory_steps(setting())] == [[]], (
        "a single small image has nothing to save on a CPU"
    )
    result = list(memory_steps(setting(*LARGE, device="cuda")))
    offloads = ["model_offload", "group_offload", "sequential_offload"]
    assert [names(rung)[0] for rung, _ in result[3::3]] == offloads and len(result) == 12
    needs = [need for _, need in result]
    assert all(needs[i] > needs[i + 3] for i in range(9)), "each offload needs less than the one before"


@pytest.mark.parametrize(
    ("limit", "further", "device", "chosen", "message"),
    [
        (8, 0, "cpu", [], "nothing to save"),
        (8, 1, "cpu", ["vae_slicing"], "memory=[vae_slicing]"),
        (0.07, 0, "cpu", ["vae_slicing"], "memory=[vae_slicing]"),
        (0.001, 0, "cpu", ["vae_slicing", "vae_tiling"], "which may not be enough"),
        (0.001, 5, "cpu", ["vae_slicing", "vae_tiling"], "which may not be enough"),
        (0.07, 0, "cuda", ["vae_slicing"], "memory=[vae_slicing]"),
        (0.055, 0, "cuda", ["model_offload", "vae_slicing"], "memory=[model_offload,vae_slicing]"),
        (0.001, 0, "cuda", ["sequential_offload", "vae_slicing", "vae_tiling"], "which may not be enough"),
    ],
)
def test_the_fastest_that_fits(limit, further, device, chosen, message):
    options, line = Auto(limit, further).expand(setting(*LARGE, device=device))
    assert names(options.values()) == chosen and message in line, line


def test_the_run_says_what_it_takes_and_records_it(compose):
    done = compose("memory=auto", "memory.auto.limit=0.07", *LARGE, "hydra.run.dir=out")
    assert done.code == 0 and "compose: note: memory=auto: about " in done.err
    assert "MiB needed, 72 MiB free: memory=[vae_slicing], about " in done.err
    assert '"vae_slicing": {}' in Path("out/run.json").read_text()


def test_other_options_beside_it_are_kept(compose):
    assert compose("memory=[auto,attention_slicing]", *LARGE).code == 0


def test_one_step_further_when_memory_runs_out(one_thread):
    class RunsOut(composer.StepCallback):
        runs = 0

        def before_step(self, step):
            self.runs += 1
            if self.runs == 1:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    notes = []
    from composer.pipelines.run import execute

    spec = read(compose_config(["memory=auto", *LARGE]))
    results = execute(spec, say=notes.append, more=[RunsOut()])
    assert "memory ran out: once more, one step further" in notes
    assert results.record["memory"].keys() == {"vae_slicing"}
    assert same(results, composer.compose("memory=[vae_slicing]", *LARGE))


def test_an_error_that_is_not_about_memory_ends_the_run(compose):
    assert (
        compose(
            "memory=auto", "callbacks=[nan_guard,prompt_switch]", "callbacks.prompt_switch.prompt=x", "steps=0"
        ).code
        == 2
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["memory.auto.limit=0"], "memory.auto.limit=0: must be a number above 0 or null"),
        (["memory.auto.further=-1"], "memory.auto.further=-1: must be an integer, 0 or more"),
    ],
)
def test_settings_are_checked(compose, words, message):
    done = compose("memory=auto", *words)
    assert done.code == 2 and message in done.err


PEAK = """
import torch
from composer.system.memory import peak_memory
torch.set_grad_enabled(False)
from diffusers import AutoencoderKL
vae = AutoencoderKL(block_out_channels=(64, 64), down_block_types=("DownEncoderBlock2D",) * 2,
                    up_block_types=("UpDecoderBlock2D",) * 2,
                    layers_per_block=1, norm_num_groups=8, sample_size=64)
vae.decode(torch.zeros(1, 4, 8, 8))
before = peak_memory()
vae.decode(torch.zeros(1, 4, 192, 192))
print(peak_memory() - before)
"""


@pytest.mark.slow  # half a minute of decoding
def test_the_estimate_of_decoding_is_near_what_is_measured():
    from composer.options.memory.estimate import VAE

    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    estimated = 384 * 384 * 64 * VAE * 4
    assert 0.5 < float(done.stdout) / estimated < 1.3


def test_tiles_and_slices_need_less():
    checked = setting(*LARGE).checked
    complete, sliced, tiled = (
        estimate(checked, DtypePlan(torch.float32), **how).decoding
        for how in ({}, {"sliced": True}, {"sliced": True, "tiled": True})
    )
    assert complete == 2 * sliced > 2 * tiled
    half = estimate(checked, DtypePlan(torch.bfloat16))
    assert half.total * 2 == pytest.approx(estimate(checked, DtypePlan(torch.float32)).total, rel=0.01)


LIMITED = """
import resource, sys
from composer.system import memory as usage
import torch
before = usage.free_memory()
status = {line.split(":")[0]: line.split()[1] for line in open("/proc/self/status") if line.strip().endswith("kB")}
resource.setrlimit(resource.RLIMIT_AS, (int(status["VmSize"]) * 1024 + (100 << 20),) * 2)
print(before, usage.free_memory())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_limits_of_the_process_count():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after <= 100 << 20 < before


@pytest.mark.parametrize(
    ("kinds", "files"),
    [
        (
            "memory",
            {
                "memory.limit_in_bytes": "1000",
                "memory.usage_in_bytes": "900",
                "memory.stat": "inactive_file 300\nrss 1",
            },
        ),
        ("", {"memory.max": "1000", "memory.current": "900", "memory.stat": "inactive_file 200\nactive_file 100"}),
    ],
)
def test_limits_of_control_groups_count(tmp_path, monkeypatch, kinds, files):
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    for name, text in files.items():
        (outer / name).write_text(text)
    (outer / "inner" / "memory.max").write_text("max")
    real = memory._lines
    monkeypatch.setattr(memory, "CGROUP_FILES", {kinds: (str(tmp_path), memory.CGROUP_FILES[kinds][1])})
    monkeypatch.setattr(
        memory,
        "_lines",
        lambda file: [f"1:{kinds}:/outer/inner", "2:cpu:/"] if file == "/proc/self/cgroup" else real(file),
    )
    assert memory._within_groups() == [1000 - 900 + 300]
