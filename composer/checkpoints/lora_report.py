"""What ``compose info FILE.safetensors`` prints of a LoRA file."""

from __future__ import annotations

from collections import Counter
from typing import Any

from composer.checkpoints.lora_file import LoraFile
from composer.errors import printable, shorten

#: Component of a layer whose name does not say it.
_UNNAMED = "not named"


def lora_facts(file: LoraFile) -> dict[str, Any]:
    """Describe a LoRA file as plain data.

    Args:
        file: The file.

    Returns:
        Format, base model, family, ranks, layers of each component, trigger words, keys that no format has, and the
        texts of the header.
    """
    components = Counter(
        "denoiser" if layer.name.component is None else layer.name.component or _UNNAMED for layer in file.layers
    )
    return {
        "file": str(file.path),
        "formats": list(file.formats),
        "base": file.base,
        "family": file.family,
        "ranks": list(file.ranks),
        "layers": dict(components),
        "trigger_words": list(file.trigger_words),
        "unknown": [*file.unknown, *file.incomplete],
        "metadata": dict(file.metadata),
    }


def format_lora(file: LoraFile) -> str:
    """Describe a LoRA file in a few lines.

    Args:
        file: The file.

    Returns:
        The lines.
    """
    facts = lora_facts(file)
    family = f" (family {file.family})" if file.family else ""
    rows = {
        "base": f"{file.base or 'not named in the file'}{family}",
        "rank": ", ".join(map(str, file.ranks)),
        "layers": ", ".join(f"{count} of {component}" for component, count in facts["layers"].items()),
        "words": ", ".join(file.trigger_words),
        "unknown": ", ".join(facts["unknown"][:3]) + (" …" if len(facts["unknown"]) > 3 else ""),
    }
    lines = [f"{file.path.name}: {' and '.join(file.formats) or 'LoRA'}"]
    lines += [f"  {key:10} {shorten(value, 400)}" for key, value in rows.items() if value]
    return "\n".join(map(printable, lines))
