"""What is asked for, as frozen dataclasses: the resolved side of the config, standard library only.

Nothing here is optional that the code later needs: values left open in the config (`seed=null`, `steps=null`) are
settled
before a `Request` exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from composer.system.constraints import Ge, Interval

#: Dtype that models compute with; `auto` is the fastest that the device computes with natively.
Dtype = Literal["auto", "fp32", "fp16", "bf16"]
#: Format that the denoiser's weights are kept in.
Storage = Literal["fp8", "torchao_int8", "quanto_int8", "bnb_int8", "bnb_nf4"]
#: What becomes of a prompt that is longer than the model reads.
LongPrompts = Literal["warn", "error", "chunk"]
#: Images in a batch; `auto` is as many as fit into memory, None all of the run.
Batch = Annotated[int, Ge(1)] | Literal["auto"] | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A class by its dotted path, with keywords for it; checked in `targets.py` before anything is built.

    group, name: of the option that names the class, by which messages, records and job ids know it; the path is told to
    nobody.
    """

    path: str
    keywords: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    group: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec:
    """`target` None keeps the checkpoint's own class; the keywords override its config. kind: diffusion, flow or edm.
    name: of the option."""

    target: Choice | None = None
    name: str = "default"
    kind: str | None = None
    keywords: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class RefinerSpec:
    """A second checkpoint for the end of the schedule. start: 0–1, the share of it after which the refiner takes over."""

    source: str
    revision: str | None = None
    variant: str | None = None
    start: Annotated[float, Interval(gt=0, lt=1)] = 0.8


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which checkpoint: a folder, a hub id, a single .safetensors file or `embedded:NAME`.

    family: `auto` reads it from the checkpoint. revision and variant: as diffusers' from_pretrained takes them.
    config: for a single file, a folder or hub id whose json files and tokenizer describe it; None takes what diffusers
    does for its kind.
    components: name → where it comes from instead, see `components.read_part`. safety_checker: whether to keep one.
    refiner: a second checkpoint that finishes what this one began. sha256: file of the checkpoint → the sum it must
    have; `` is a
    single file itself. allow_pickle: whether weights may come from pickles, which can run code.
    """

    name: str
    source: str
    family: str = "auto"
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    components: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    safety_checker: bool = True
    refiner: RefinerSpec | None = None
    sha256: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allow_pickle: bool = False


@dataclass(frozen=True, kw_only=True)
class PrecisionSpec:
    """dtype: of the models, auto for the fastest that the device really computes with. components: name → dtype of
    those that differ.
    strict: refuse what the device is slow at, instead of taking the nearest that works. force: compute in it all the
    same.
    cache: keep converted weights for next time.
    storage: how the denoiser's weights are kept, see `quantised`; None as they compute. vae_upcast: whether the VAE
    decodes in fp32, or
    `auto`, where it overflows in fewer bits."""

    dtype: Dtype
    components: Mapping[str, Dtype] = field(default_factory=lambda: MappingProxyType({}))
    strict: bool = False
    force: bool = False
    cache: bool = True
    storage: Storage | None = None
    vae_upcast: Literal["auto"] | bool = "auto"


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """format: png, webp or jpeg. quality: 1–100 (webp: 100 is lossless). folder: of the files, None for one by date and
    time.
    """

    format: Literal["png", "webp", "jpeg"] = "png"
    quality: Annotated[int, Interval(ge=1, le=100)] = 95
    folder: str | int | float | None = None  # a number is a name too


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything one run needs, before any weights are loaded.

    values: the root keys of the task as the user left them (prompt, steps, seed, …).
    config: the whole resolved config as plain data, for the record.
    skipping: callbacks that are left out of the rest of a run when they fail, instead of ending it. memory: ways to
    hold less.
    accel: ways to be faster. batch: images generated at once, `auto` for as many as should fit into memory, None for
    all.
    chosen: group → name of its option, or several in a list. overflow: what becomes of prompts that are too long.
    """

    task: Choice
    model: ModelSpec
    scheduler: SchedulerSpec
    guidance: Choice
    callbacks: Mapping[str, Choice]
    precision: PrecisionSpec
    device: str
    output: OutputSpec
    values: Mapping[str, Any]
    config: Mapping[str, Any]
    skip_on_error: frozenset[str] = frozenset()
    memory: Mapping[str, Choice] = field(default_factory=lambda: MappingProxyType({}))
    accel: Mapping[str, Choice] = field(default_factory=lambda: MappingProxyType({}))
    batch: Batch = None
    chosen: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    overflow: LongPrompts = "warn"
