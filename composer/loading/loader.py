"""Checkpoint → a diffusers pipeline that holds the components, kept warm for the next run."""

from __future__ import annotations

import inspect
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import diffusers
import torch
from safetensors.torch import load_file

from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.component_folder import variants, weight_files
from composer.checkpoints.components import Component
from composer.checkpoints.index import INDEX, components_of, read_json
from composer.errors import ComposerError
from composer.loading import converted, integrity, quantization
from composer.loading.precision import DtypePlan
from composer.system.library_logs import disable_progress_bars
from composer.system.run_lock import in_turn
from composer.system.signatures import keywords_of


@dataclass(frozen=True)
class LoadOptions:
    """numbers: to compute with. device: where the weights lie. variant: of the files. keep: converted weights, for next
    time.
    waits: whether they only wait there for another device: what comes back lies otherwise in memory, and sums may then
    differ."""

    numbers: DtypePlan
    device: torch.device
    variant: str | None = None
    keep: bool = True
    waits: bool = False


@dataclass(frozen=True)
class CheckpointKey:
    """What a pipe is made of, as a key: two checkpoints with the same are one. files: what lies there now, of those not
    from the hub.
    """

    where: str
    files: tuple[tuple[str, int, int], ...]
    pipe: str
    revision: str | None
    config_source: str | None
    component_overrides: tuple[tuple[Any, ...], ...]
    missing_components: tuple[str, ...]
    safety_checker: bool
    sums: tuple[tuple[str, str], ...]
    allow_pickle: bool


#: Checkpoints that are kept for the next run: the last one's, and its refiner's.
MOST = 2
_checkpoints: OrderedDict[tuple[CheckpointKey, LoadOptions], Any] = OrderedDict()
#: Models that some pipeline holds, by their files. loaded: how often a component was read from its folder.
_alive: WeakValueDictionary[Any, torch.nn.Module] = WeakValueDictionary()
loaded: Counter[str] = Counter()
OTHER_SHAPES = "its weights are of other shapes than its config.json says: they are of two models"


@in_turn
def load(checkpoint: Checkpoint, how: LoadOptions, on_evict: Callable[[Any], None] = lambda pipe: None) -> Any:
    """Load all components, from safetensors only.

    Args:
        on_evict: called with each diffusers pipeline that leaves the cache to make room.

    Raises:
        ComposerError: a file is missing or damaged.
    """
    disable_progress_bars()
    source = source_of(checkpoint)
    if (source, how) not in _checkpoints:
        with in_one_line(checkpoint):
            integrity.check_components(checkpoint, getattr(diffusers, source.pipe))
            pipe = _load(source, how)
            integrity.check_tokenizers(checkpoint.source, pipe)
            _checkpoints[source, how] = pipe
    _checkpoints.move_to_end((source, how))
    while len(_checkpoints) > MOST:
        on_evict(_checkpoints.popitem(last=False)[1])
    return _checkpoints[source, how]


@contextmanager
def in_one_line(checkpoint: Checkpoint) -> Iterator[None]:
    """What libraries raise while they load, as one line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        integrity.whole(checkpoint.source, integrity.meta_parameters(error) if checkpoint.single_file else ())
        if _shapes_differ(error):
            raise ComposerError("model.source", checkpoint.source, OTHER_SHAPES) from None
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ComposerError("model.source", checkpoint.source, f"can't be loaded: {why}") from error


def _shapes_differ(error: Exception) -> bool:
    """Whether diffusers, transformers or accelerate raised for weights of other shapes than their model's."""
    return any(words in str(error) for words in ("expected shape", "ignore_mismatched_sizes", "this looks incorrect"))


@in_turn
def forget() -> None:
    """Load everything anew next time; options that are on the models are taken off by `fitting.forget`."""
    _checkpoints.clear()
    _alive.clear()


def source_of(checkpoint: Checkpoint) -> CheckpointKey:
    at_hub = checkpoint.commit is not None and not checkpoint.single_file
    return CheckpointKey(
        where=checkpoint.source if at_hub else str(checkpoint.path),
        files=tuple(state for place in _places(checkpoint) for state in _files(place)),
        pipe=checkpoint.pipe,
        revision=checkpoint.commit,
        config_source=str(checkpoint.config_source) if checkpoint.config_source else None,
        component_overrides=tuple(
            (name, *_place(component)) for name, component in checkpoint.component_overrides.items()
        ),
        missing_components=checkpoint.missing_components,
        safety_checker=checkpoint.safety_checker,
        sums=tuple(checkpoint.hashes.items()),
        allow_pickle=checkpoint.allow_pickle,
    )


def _places(checkpoint: Checkpoint) -> list[Path]:
    """Where its files lie, of those that are not a commit's."""
    described = checkpoint.config_source or checkpoint.path
    own = (
        []
        if checkpoint.commit is not None
        else [checkpoint.path, described, *(described / name for name in checkpoint.classes)]
    )
    return [
        *own,
        *(component.folder for component in checkpoint.component_overrides.values() if component.commit is None),
    ]


def _place(component: Component) -> tuple[str, str, str, str, str | None, str | None, str | None]:
    """What identifies a component, as arguments of `from_elsewhere`, behind its name and how."""
    part = component.location
    where, subfolder = (str(component.folder), "") if component.commit is None else (part.source, component.subfolder)
    described = str(component.config_source) if component.config_source else None
    return component.library, component.cls, where, subfolder, component.commit, part.variant, described


def _load(source: CheckpointKey, how: LoadOptions) -> Any:
    cls = getattr(diffusers, source.pipe)
    parts = {name: from_elsewhere(name, how, *place) for name, *place in source.component_overrides}
    parts.update(
        dict.fromkeys(set(source.missing_components) & keywords_of(cls.__init__))
    )  # such as SD3 without T5: diffusers wants to be told
    if not source.safety_checker and "safety_checker" in keywords_of(cls.__init__):
        parts.update(safety_checker=None, requires_safety_checker=False)
    where, safe = source.where, None if source.allow_pickle else True
    if Path(where).is_file():
        integrity.check_hashes(where, Path(where), dict(source.sums))
        pipe = cls.from_single_file(where, config=source.config_source, torch_dtype=how.numbers.default, **parts)
        for name, storage in how.numbers.stored:
            quantization.loaded(storage, getattr(pipe, name), how.numbers.of(name))
        return pipe.to(how.device)
    if not Path(where).is_dir():
        where = cls.download(where, revision=source.revision, variant=how.variant, use_safetensors=safe, **parts)
    integrity.check_hashes(source.where, Path(where), dict(source.sums))
    parts = {**own_models(Path(where), set(parts) | {"safety_checker"}, how, safe), **parts}
    settings = {"torch_dtype": how.numbers.argument, "variant": how.variant, "use_safetensors": safe}
    pipe = assembled(cls, Path(where), parts) or cls.from_pretrained(where, **settings, **parts)
    return _moved(pipe, how.device)


def assembled(cls: type, folder: Path, parts: Mapping[str, Any]) -> Any:
    """A pipeline of loaded models and of what is no model, as from_pretrained puts it together; None where more is to
    be done.

    from_pretrained imports whatever a model could be, onnxruntime for one, to look at those that it is handed: a fifth
    of the time.
    """
    index, wanted = read_json(folder / INDEX), inspect.signature(cls).parameters
    found = {name: index.get(name, parameter.default) for name, parameter in wanted.items()} | parts
    for name in set(wanted) - set(parts):
        library, kind = entry if isinstance(entry := found[name], list) and len(entry) == 2 else (None, None)
        made = _class(library, kind) if library in ("diffusers", "transformers") else None
        if made is not None and not issubclass(made, torch.nn.Module):
            found[name] = made.from_pretrained(str(folder / name))
        elif entry == [None, None]:
            found[name] = None
        elif isinstance(entry, list) or entry is inspect.Parameter.empty:
            return None
    if set(found) != set(wanted):
        return None
    pipe = cls(**found)
    pipe.register_to_config(_name_or_path=str(folder))
    return pipe


def from_elsewhere(
    name: str, how: LoadOptions, library: str, cls: str, where: str, subfolder: str, revision: str | None, variant: str | None,
    described: str | None,
) -> Any:  # fmt: skip
    """A component from elsewhere, shared like a checkpoint's own where it lies in a folder."""
    try:
        if described is not None:
            return _alone(name, how, library, cls, Path(where), described)
        if revision is None and Path(where).is_dir() and issubclass(_class(library, cls), torch.nn.Module):
            return _kept(name, Path(where, subfolder), library, cls, how, variant)
        return _component(how.numbers.of(name), library, cls, where, subfolder, revision, variant)
    except ComposerError as error:
        key = f"model.components.{name}" if error.key == "model.source" else error.key
        raise ComposerError(key, error.value, error.reason, error.allowed) from error


def _alone(name: str, how: LoadOptions, library: str, cls: str, file: Path, described: str) -> torch.nn.Module:
    """A component that a single file holds, shared in the same way; a GGUF file's weights stay quantised."""
    dtype, storage = how.numbers.of(name), how.numbers.storage(name)
    key = _files(file), library, cls, dtype, how.device, described, how.waits, storage
    model = _alive.get(key)
    if model is None:
        loaded[str(file)] += 1
        try:
            made = _of_file(name, file, library, cls, dtype, storage, described)
        except (
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:  # diffusers converts whatever it does not recognise
            reason = f"does not hold the weights of this {cls}: some are missing, or it is of another model"
            raise ComposerError(f"model.components.{name}", file, reason) from error
        integrity.whole(str(file), integrity.empty(made))
        model = _alive[key] = _moved(quantization.loaded(storage, made, dtype), how.device).eval()
    return model


def _of_file(
    name: str, file: Path, library: str, cls: str, dtype: torch.dtype, storage: str | None, described: str
) -> torch.nn.Module:
    """A component as diffusers converts it, or a text encoder, whose files are in its library's own layout."""
    if library == "diffusers":
        settings = {
            "config": described,
            "subfolder": name,
            "torch_dtype": dtype,
            **quantization.loading(storage, dtype),
        }
        return _class(library, cls).from_single_file(str(file), **settings)
    kind = _class(library, cls)
    config = kind.config_class.from_pretrained(described, subfolder=name)
    model, found = kind.from_pretrained(
        None, config=config, state_dict=load_file(file), dtype=dtype, output_loading_info=True
    )
    integrity.whole(str(file), found["missing_keys"])
    return model


def own_models(folder: Path, without: set[str], how: LoadOptions, safe: bool | None) -> dict[str, torch.nn.Module]:
    """The models of a checkpoint, each taken from whatever pipeline still holds it, as links between folders make it
    one.
    """
    found = {}
    for name, (library, cls) in components_of(read_json(folder / INDEX)).items():
        if (
            name in without
            or library not in ("diffusers", "transformers")
            or not (folder / name / "config.json").is_file()
        ):
            continue
        if issubclass(_class(library, cls), torch.nn.Module):
            own = how.variant if how.variant in variants([folder / name]) else None
            safe_here = (
                safe if weight_files(folder / name, own) else False
            )  # else diffusers tries, and says on stderr that it failed
            found[name] = _kept(name, folder / name, library, cls, how, own, safe_here)
    return found


def _kept(
    name: str, folder: Path, library: str, cls: str, how: LoadOptions, variant: str | None, safe: bool | None = True
) -> torch.nn.Module:
    """A model that some pipeline still holds, or else from its files or those of its converted twin."""
    dtype, storage = how.numbers.of(name), how.numbers.storage(name)
    key = _files(folder), library, cls, dtype, how.device, variant, how.waits, storage
    model = _alive.get(key)
    if model is None:
        if how.device.type != "meta":
            loaded[str(folder)] += 1
        read = partial(_component, dtype, library, cls, subfolder="", revision=None)
        more = quantization.loading(storage, dtype)  # a library that quantises reads the files itself
        if how.device.type == "meta":
            more = {"device_map": "meta"}
        at = converted.place(folder, library, dtype, variant, read) if how.keep and safe and not more else folder
        made = converted.read(at, library, cls, dtype, partial(read, variant=None)) if at != folder else None
        if made is None:
            made = read(str(folder), variant=variant, more=more, safe=safe)
        model = _alive[key] = _moved(quantization.loaded(storage, made, dtype), how.device)
    return model


def _class(library: str, name: str) -> type:
    """Raises:
    ImportError: the library has no such class, as a checkpoint of a newer one names it.
    """
    found = getattr(import_module(library), name, None)
    if found is None:
        raise ImportError(f"{library} {import_module(library).__version__} has no {name}")
    return found


def _moved(thing: Any, device: torch.device) -> Any:
    """On the device; weights are read on the CPU, and going through all of them to leave them there takes its time."""
    return thing if device.type == "cpu" or getattr(thing, "device", None) == device else thing.to(device)


def _files(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What a component is made of, or a file: links resolved, so that one file is one wherever it is named."""
    there = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    states = [(file.resolve(), file.stat()) for file in there if file.is_file()]
    return tuple((str(place), state.st_size, state.st_mtime_ns) for place, state in states)


def _component(
    dtype: torch.dtype, library: str, name: str, where: str, subfolder: str, revision: str | None, variant: str | None,
    more: Mapping[str, Any] = MappingProxyType({}), safe: bool | None = True,
) -> Any:  # fmt: skip
    cls = _class(library, name)
    settings: dict[str, Any] = {"subfolder": subfolder, "revision": revision}
    if not issubclass(cls, torch.nn.Module):
        return cls.from_pretrained(where, **settings)
    settings.update(torch_dtype=dtype, variant=variant, use_safetensors=safe, **more)
    try:
        model, found = cls.from_pretrained(where, output_loading_info=True, **settings)
    except (ValueError, RuntimeError) as error:
        if not _shapes_differ(error):
            raise
        raise ComposerError("model.source", where, OTHER_SHAPES) from None
    integrity.whole(where, found["missing_keys"])
    setattr(model, integrity.EXTRA, tuple(found["unexpected_keys"]))
    return model.eval()
