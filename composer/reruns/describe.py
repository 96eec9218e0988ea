"""Records as text: what `compose info` prints, and what `compose rerun` announces."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from composer.errors import printable, shorten
from composer.records.measured import job_values

if TYPE_CHECKING:
    from composer.images.embedded_texts import FileTexts

#: Characters that are shown of a text of another tool, at most.
MAX_TEXT_CHARACTERS = 4000


def format_report(name: str, record: Mapping[str, Any]) -> str:
    """Format a record in a dozen lines.

    Args:
        name: Name of the file.
        record: Its record.

    Returns:
        The lines.
    """
    number, images = record["number"], record["images"]
    kind = record["media"][0]["kind"] if record.get("media") else "image"
    which = f"{len(images)} {kind}s" if number is None else f"{kind} {number + 1} of {len(images)}"
    rows = {
        "prompt": _values(record, "prompt"),
        "negative": _values(record, "negative_prompt"),
        "seed": _values(record, "seed"),
        "recipe": _recipe(record),
        "task": record["options"].get("task"),
        "model": _model(record),
        "scheduler": _scheduler(record),
        "guidance": _settings(record.get("guidance")),
        "size": f"{record['width']} x {record['height']} pixels" if record.get("width") else "",
        kind: _medium(record),
        "inputs": ", ".join(f"{key}={_short(_configured(record['config'], key))}" for key in record["inputs"]),
        "lora": ", ".join(
            f"{_mapping(lora).get('file')} at {_mapping(lora).get('scale')}"
            for lora in _mapping(record.get("lora")).values()
        ),
        "embedding": ", ".join(
            f"{_mapping(of).get('file')} as {_mapping(of).get('word')}"
            for of in _mapping(record.get("embedding")).values()
        ),
        "control": ", ".join(
            f"{_mapping(control).get('model')} at {_mapping(control).get('scale')}"
            for control in _mapping(record.get("control")).values()
        ),
        "ip_adapter": ", ".join(
            f"{_mapping(of).get('file')} at {_mapping(of).get('scale')}"
            for of in _mapping(record.get("ip_adapter")).values()
        ),
        "callbacks": ", ".join(record["callbacks"]),
        "memory": ", ".join(record["memory"]),
        "accel": ", ".join(record.get("accel") or ()),
        "metrics": _metrics(record),
        "made": _circumstances(record),
        "with": ", ".join(f"{library} {version}" for library, version in record["versions"].items()),
        "notes": "; ".join(map(str, record.get("notes") or ())),
    }
    lines = [f"{name}: {which}, by composer {record['composer']}"]
    lines += [f"  {key:10} {_short(value, 400)}" for key, value in rows.items() if value]
    return "\n".join(map(printable, lines))


def describe_run(record: Mapping[str, Any], tree: Mapping[str, Any], same: bool) -> str:
    """Describe in one line what is going to be generated.

    Args:
        record: The record.
        tree: Config of the run as plain data.
        same: Whether the image of the record is generated again, and not a variation.

    Returns:
        Options, seed and prompt.
    """
    first = record["images"][record["number"] or 0] if same else tree
    options = " ".join(f"{group}={_short(tree['chosen'].get(group))}" for group in ("task", "model", "scheduler"))
    prompt = f', prompt "{_short(first["prompt"])}"' if first.get("prompt") else ""
    recipe = f"recipe {_recipe(record)}; of the last run " if "recipe" in record else ""
    return f"{'' if same else 'a variation: '}{recipe}{options}, seed {first.get('seed')}{prompt}"


def format_foreign_texts(name: str, inside: FileTexts) -> str:
    """Format the texts that another tool wrote into an image.

    Args:
        name: Name of the image.
        inside: Its texts and the name of the tool.

    Returns:
        Each text below its name, cut to `MAX_TEXT_CHARACTERS`.
    """
    lines = [f"{name}: no record of composer's; {inside.tool or 'another tool'} wrote"]
    for key, text in inside.texts.items():
        lines += [f"{key}:", *text[:MAX_TEXT_CHARACTERS].splitlines()]
        if len(text) > MAX_TEXT_CHARACTERS:
            lines.append(f"… ({len(text):,} characters)")
    return "\n".join(map(printable, lines))


def _recipe(record: Mapping[str, Any]) -> str:
    """Name of the recipe and of its steps; empty for a single run."""
    recipe = _mapping(record.get("recipe"))
    return f"{recipe['name']} ({', '.join(_mapping(recipe.get('steps')))})" if "name" in recipe else ""


def _values(record: Mapping[str, Any], key: str) -> str:
    """The image's value of a key, or the different values of all images."""
    number, values = record["number"], [image[key] for image in record["images"]]
    shown = dict.fromkeys(values if number is None else [values[number]])
    return " | ".join(str(value) for value in shown if value is not None)


def _medium(record: Mapping[str, Any]) -> str:
    """What a clip or a sound has besides a size; empty for an image."""
    media = record.get("media") or ()  # which images have none of
    described = media[record["number"] or 0] if media else {}
    sound = _mapping(described.get("sound"))
    pairs = {
        **{name: described.get(name) for name in ("frames", "fps", "channels", "sampling_rate", "seconds")},
        **{f"sound {name}": sound.get(name) for name in ("channels", "sampling_rate", "seconds")},
    }
    return ", ".join(f"{name} {value}" for name, value in pairs.items() if value is not None)


def _model(record: Mapping[str, Any]) -> str:
    """Source, family and commit of the model, and the components that replace its own."""
    model = _mapping(record.get("model"))
    parts = [
        str(model.get("source")),
        model.get("family") and f"family {model['family']}",
        model.get("commit") and f"commit {model['commit']}",
    ]
    overrides = [f"{name} from {origin}" for name, origin in _mapping(model.get("components")).items()]
    return ", ".join(str(part) for part in (*parts, *overrides) if part)


def _scheduler(record: Mapping[str, Any]) -> str:
    """Class of the scheduler, and the number of steps that are taken."""
    skipped, steps = record.get("steps_left_out"), record.get("steps")
    count = (
        f"{steps - skipped} of {steps} steps"
        if isinstance(skipped, int) and isinstance(steps, int) and skipped
        else f"{steps} steps"
    )
    return f"{_mapping(record.get('scheduler')).get('class')}, {count}"


def _circumstances(record: Mapping[str, Any]) -> str:
    """Device, dtype, duration and peak memory of the run."""
    parts = [f"on {record['device']}", str(record.get("dtype"))]
    if isinstance(record.get("seconds"), (int, float)):
        parts.append(
            f"in {timedelta(seconds=round(record['seconds']))}"
            if record["seconds"] > 120
            else f"in {record['seconds']:.1f} s"
        )
    if isinstance(record.get("peak_memory"), int):
        parts.append(f"with {record['peak_memory'] / 2**20:,.0f} MiB at most")
    return ", ".join(parts)


def _metrics(record: Mapping[str, Any]) -> str:
    """The metrics of the image, or their means."""
    number, described = record["number"], _mapping(record.get("metrics"))
    if number is not None:
        of_all = {name: _mapping(one).get("values") for name, one in described.items()}
        described = {
            name: {"values": values[number : number + 1]} for name, values in of_all.items() if isinstance(values, list)
        }
    values = job_values({"metrics": described})
    return ", ".join(f"{name} {value:.4g}" for name, (value, _) in values.items() if value is not None)


def _settings(node: Any) -> str:
    """Class of a node and its settings, without those that are null."""
    node = _mapping(node)
    rest = ", ".join(
        f"{key} {value}"
        for key, value in node.items()
        if key != "class" and not key.startswith("_") and value is not None
    )
    return f"{node.get('class')}, {rest}" if rest else str(node.get("class") or "")


def _mapping(value: Any) -> Mapping[str, Any]:
    """A recorded node as a mapping; empty if it is none."""
    return value if isinstance(value, Mapping) else {}


def _configured(config: Any, key: str) -> Any:
    """The value of a dotted key; None where the record has none."""
    for part in key.split("."):
        config = _mapping(config).get(part)
    return config


def _short(value: Any, most: int = 80) -> str:
    """A recorded value as text, cut to a number of characters."""
    return shorten("" if value is None else value, most)
