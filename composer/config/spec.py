"""Specification of a run as frozen dataclasses: the resolved side of the config, of the standard library only.

Values that the config leaves open (`seed=null`, `steps=null`) are chosen before a `Request` is made of a specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from composer.system.constraints import Ge, Interval

#: Dtype that models compute with; `auto` is the fastest that the device computes with natively.
Dtype = Literal["auto", "fp32", "fp16", "bf16"]
#: Format that the denoiser's weights are stored in.
Storage = Literal["fp8", "torchao_int8", "quanto_int8", "bnb_int8", "bnb_nf4"]
#: Treatment of prompts that are longer than the model reads.
LongPrompts = Literal["warn", "error", "chunk"]
#: Syntax of prompts: literal text, or words with weights such as `(word:1.3)`.
PromptSyntax = Literal["text", "weights"]
#: Syntaxes of prompts as they are named; several together, such as dynamic and weights.
SyntaxName = Literal["text", "weights", "dynamic"]
#: Format of output files; `auto` follows from what the task makes.
FormatName = Literal["auto", "png", "webp", "jpeg", "mp4", "gif", "frames", "wav", "flac"]
#: Images in a batch; `auto` is as many as fit into memory, None all of the run.
Batch = Annotated[int, Ge(1)] | Literal["auto"] | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An option by the class that it names, checked in `targets.py` before it is built.

    Attributes:
        path: Dotted path of the class. It is neither recorded nor printed.
        keywords: Keywords of its constructor.
        group: Group of the option, such as `callbacks`.
        name: Name of the option, which messages, records and job ids use.
    """

    path: str
    keywords: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    group: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec:
    """The scheduler of a run.

    Attributes:
        target: Its class; `None` keeps that of the checkpoint.
        name: Name of the option.
        kind: `diffusion`, `flow` or `edm`; `None` if the option has none.
        keywords: Settings that override the checkpoint's scheduler config.
        by_kind: Kind of model → the scheduler that replaces the checkpoint's own, see `composer.checks.fast`.
        most_steps: Most steps of a run for which none are typed; `None` for as many as the model recommends.
    """

    target: Choice | None = None
    name: str = "default"
    kind: str | None = None
    keywords: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    by_kind: Mapping[str, SchedulerSpec] = field(default_factory=lambda: MappingProxyType({}))
    most_steps: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True, kw_only=True)
class RefinerSpec:
    """A second checkpoint that finishes the schedule.

    Attributes:
        source: As `ModelSpec.source`.
        revision: As `ModelSpec.revision`.
        variant: As `ModelSpec.variant`.
        start: Fraction of the schedule after which the refiner takes over, in `(0, 1)`.
    """

    source: str
    revision: str | None = None
    variant: str | None = None
    start: Annotated[float, Interval(gt=0, lt=1)] = 0.8


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The checkpoint of a run.

    Attributes:
        name: Name that messages use.
        source: A directory, a hub id, a single `.safetensors` file, or `embedded:NAME`.
        family: Model family; `auto` detects it.
        revision: Branch, tag or commit at the hub.
        variant: File variant such as `fp16`; `None` for the default files.
        config: Directory or hub id whose JSON files and tokenizer describe a single file; `None` for diffusers'
            default.
        size: Side in pixels of the images that it generates best; `None` for what its files or its pipeline say.
        components: Component → the location that replaces it.
        safety_checker: Whether to keep the checkpoint's safety checker.
        refiner: Checkpoint that finishes the schedule; `None` for none.
        sha256: File of the checkpoint → its expected SHA-256 in hexadecimal; an empty name is a single file itself.
        allow_pickle: Whether weights may be pickled; such files can run code.
    """

    name: str
    source: str
    family: str = "auto"
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    size: Annotated[int, Ge(1)] | None = None
    components: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    safety_checker: bool = True
    refiner: RefinerSpec | None = None
    sha256: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allow_pickle: bool = False


@dataclass(frozen=True, kw_only=True)
class PrecisionSpec:
    """Dtypes of a run.

    Attributes:
        dtype: Dtype of the models; `auto` is the fastest that the device computes with natively.
        components: Component → its dtype, where it differs.
        strict: Whether to refuse a dtype that the device is slow at, instead of replacing it by the nearest suitable
            one.
        force: Whether to compute with such a dtype all the same.
        cache: Whether to keep converted weights in the disk cache.
        storage: Format that the denoiser's weights are stored in; `None` for the dtype that they compute with.
        vae_upcast: Whether the VAE decodes in fp32; `auto` if it overflows otherwise.
    """

    dtype: Dtype
    components: Mapping[str, Dtype] = field(default_factory=lambda: MappingProxyType({}))
    strict: bool = False
    force: bool = False
    cache: bool = True
    storage: Storage | None = None
    vae_upcast: Literal["auto"] | bool = "auto"


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """A LoRA of a run: small changes to layers of the models. https://arxiv.org/abs/2106.09685

    Attributes:
        file: A ``.safetensors`` file, ``owner/name`` at the hub, or ``owner/name/subfolder/file``.
        revision: Branch, tag or commit at the hub.
        scale: Factor of the changes; 0 leaves the models as they are.
        scales: Component → its own factor.
        start: Fraction of the steps after which the denoiser's changes apply.
        end: Fraction of the steps up to which they apply.
        method: ``peft`` computes the changes beside each layer, as diffusers does; ``merge`` adds them to the weights
            of the run; ``auto`` is ``peft`` for all files that diffusers applies completely.
    """

    file: str
    revision: str | None = None
    scale: float = 1.0
    scales: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    start: Annotated[float, Interval(ge=0, le=1)] = 0.0
    end: Annotated[float, Interval(ge=0, le=1)] = 1.0
    method: Literal["auto", "peft", "merge"] = "auto"


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """A textual inversion of a run: vectors for a word of prompts. https://arxiv.org/abs/2208.01618

    Attributes:
        file: A ``.safetensors``, ``.bin`` or ``.pt`` file, ``owner/name`` at the hub, or ``owner/name/subfolder/file``.
        revision: Branch, tag or commit at the hub.
        word: Word of prompts that the vectors stand for; ``None`` for the file's own, or else its name.
    """

    file: str
    revision: str | None = None
    word: str | None = None


@dataclass(frozen=True, kw_only=True)
class ControlSpec:
    """A control model of a run, which makes images follow edges, depth or the like of another image.

    Attributes:
        model: A directory, or ``owner/name`` or ``owner/name/subfolder`` at the hub.
        image: A file, or one for each prompt; from Python a PIL image.
        scale: Factor of what the model adds; 0 leaves the images as they are without it.
        start: Fraction of the steps after which it applies.
        end: Fraction of the steps up to which it applies.
        mode: What the image shows, for a union of control models: a name such as ``canny``, or its number.
        preprocess: What is made of the image first, such as ``canny``; ``none`` for nothing.
        preprocess_settings: Settings of the preprocessor by name.
        revision: Branch, tag or commit at the hub.
        variant: Variant of the weights files, such as ``fp16``.
    """

    model: str
    image: Any = None
    scale: float = 1.0
    start: Annotated[float, Interval(ge=0, le=1)] = 0.0
    end: Annotated[float, Interval(ge=0, le=1)] = 1.0
    mode: str | int | None = None
    preprocess: str = "none"
    preprocess_settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    revision: str | None = None
    variant: str | None = None


@dataclass(frozen=True, kw_only=True)
class IpAdapterSpec:
    """An IP-Adapter of a run: images that condition it beside the prompt. https://arxiv.org/abs/2308.06721

    Attributes:
        file: A ``.safetensors`` file, ``owner/name`` at the hub, or ``owner/name/subfolder/file``.
        revision: Branch, tag or commit at the hub.
        images: Files of the images.
        masks: Files of the parts of the result that each image conditions; empty for all of it.
        scale: Weight of the images; 0 is none.
        scales: ``down``, ``mid``, ``up`` → the weight in these blocks: a number, or ``block_0``, … → a number or one
            for each of its layers. ``blocks`` → one for each block of Flux.
        encoder: Directory or hub folder of the image encoder; ``None`` for ``image_encoder`` beside the file.
    """

    file: str
    revision: str | None = None
    images: tuple[str, ...]
    masks: tuple[str, ...] = ()
    scale: float = 1.0
    scales: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    encoder: str | None = None


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """Files of a run.

    Attributes:
        format: Format of the images, clips or sounds; `auto` is PNG for images, MP4 for clips (WebP without the extra
            `video`), WAV for sounds. See `composer.media.formats`.
        quality: Quality of WebP, JPEG and MP4, in `[1, 100]`; WebP is lossless at 100.
        folder: Directory of the files; `None` for one named by date and time.
    """

    format: FormatName = "auto"
    quality: Annotated[int, Interval(ge=1, le=100)] = 95
    folder: str | int | float | None = None  # a number is a name too


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Complete specification of a run, before any weights are loaded.

    Attributes:
        task: The task.
        model: The checkpoint.
        scheduler: The scheduler.
        guidance: How conditional and unconditional predictions are combined.
        callbacks: Callbacks by option name, in their order.
        precision: Dtypes.
        device: Name of the device, or `auto`.
        output: Files.
        values: Root keys that the task declares, as they were set (prompt, steps, seed, …).
        config: The complete resolved config as plain data, for the record.
        skip_on_error: Callbacks that are dropped for the rest of a run when they fail.
        memory: Options that reduce memory, by name.
        accel: Options that accelerate, by name.
        metrics: What is measured of the finished images, by name.
        batch: Images generated at once; `auto` for as many as fit into memory, `None` for all.
        options: Group → name of its option, or a list of names.
        overflow: Treatment of prompts that are longer than the model reads.
        prompt_syntax: Syntax of prompts and negative prompts.
        dynamic_prompts: Whether choices such as ``{a|b}`` are made in them first, by the seed of each image.
        wildcards: Directory with the files of choices such as ``__name__``.
        loras: LoRA by name, in their order; the name of the one at the node ``lora`` itself is empty.
        embeddings: Textual inversions by name, likewise.
        controls: Control models by name, likewise.
        ip_adapters: IP-Adapters by name, likewise.
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
    metrics: Mapping[str, Choice] = field(default_factory=lambda: MappingProxyType({}))
    batch: Batch = None
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    overflow: LongPrompts = "warn"
    prompt_syntax: PromptSyntax = "text"
    dynamic_prompts: bool = False
    wildcards: str | None = None
    loras: Mapping[str, LoraSpec] = field(default_factory=lambda: MappingProxyType({}))
    embeddings: Mapping[str, EmbeddingSpec] = field(default_factory=lambda: MappingProxyType({}))
    controls: Mapping[str, ControlSpec] = field(default_factory=lambda: MappingProxyType({}))
    ip_adapters: Mapping[str, IpAdapterSpec] = field(default_factory=lambda: MappingProxyType({}))
