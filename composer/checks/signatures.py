"""Parameters of classes, read from their source text without importing torch.

Where the text does not show them, such as for a base class in another file, None is returned and the imported class
is checked later.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

#: Methods of a scheduler whose parameters are settings.
METHODS = ("__init__", "step", "set_timesteps")
#: Parameters of these that are no settings.
NO_SETTINGS = {
    "self",
    "model_output",
    "timestep",
    "sample",
    "generator",
    "return_dict",
    "variance_noise",
    "num_inference_steps",
    "device",
}

#: Attributes of VAEs that hold the side of their tiles in pixels.
TILE_ATTRIBUTES = ("self.tile_sample_min_size", "self.tile_sample_min_height")


@cache
def scheduler_settings(path: str) -> frozenset[str] | None:
    """Return the settings of one of diffusers' schedulers.

    Args:
        path: Dotted path of the class.

    Returns:
        Names of the settings; None if the source text does not show them.
    """
    definition = (
        _class(_diffusers(path.rpartition(".")[2]), path.rpartition(".")[2]) if path.startswith("diffusers.") else None
    )
    body = definition.body if definition else ()
    methods = {node.name: node.args for node in body if isinstance(node, ast.FunctionDef)}
    if not all(name in methods and methods[name].kwarg is None for name in METHODS[:2]):
        return None
    given = (
        argument.arg
        for name in METHODS
        if name in methods
        for argument in (*methods[name].args, *methods[name].kwonlyargs)
    )
    return frozenset(given) - NO_SETTINGS


@cache
def devices_of(path: str) -> frozenset[str] | None:
    """Return the types of devices that an option of composer has an effect on.

    Args:
        path: Dotted path of the option's class.

    Returns:
        Types of devices; None if all, or if the source text does not show them.
    """
    module, _, name = path.rpartition(".")
    if not module.startswith("composer."):
        return None
    definition = _class(Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py"), name)
    for node in definition.body if definition else ():
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "devices"
            and isinstance(node.value, ast.Call)
        ):
            return frozenset(ast.literal_eval(node.value.args[0]))
    inherited = (
        devices_of(f"{module}.{base.id}")
        for base in (definition.bases if definition else ())
        if isinstance(base, ast.Name)
    )
    return next((devices for devices in inherited if devices is not None), None)


@cache
def vae_tile(name: str) -> int | None:
    """Return the side of the tiles of one of diffusers' VAEs, where its class sets it.

    Args:
        name: Name of the class.

    Returns:
        Pixels; None where the side follows from the settings of a checkpoint.
    """
    definition = _class(_diffusers(name, "models/autoencoders", "*.py"), name)
    for node in ast.walk(definition) if definition else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in TILE_ATTRIBUTES:
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            return value if isinstance(value, int) else None
    return None


def _diffusers(name: str, folder: str = "schedulers", pattern: str = "scheduling_*.py") -> Path | None:
    """The file of diffusers that defines a class."""
    spec = find_spec("diffusers")
    if spec is None or spec.origin is None or not name.isidentifier():
        return None
    files = Path(spec.origin).parent.joinpath(folder).glob(pattern)
    return next((file for file in files if re.search(rf"^class {name}\b", file.read_text("utf-8"), re.MULTILINE)), None)


def _class(file: Path | None, name: str) -> ast.ClassDef | None:
    try:
        tree = ast.parse(file.read_text("utf-8")) if file else None
    except (OSError, ValueError, SyntaxError):
        return None
    return next(
        (node for node in (tree.body if tree else ()) if isinstance(node, ast.ClassDef) and node.name == name), None
    )
