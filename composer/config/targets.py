"""Resolution of `_target_` paths to checked classes with checked keywords.

Hydra's `instantiate` is never called, since it calls anything that can be imported. The resolved object must be a class
of the expected kind, and be defined in diffusers, composer or an installed plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from composer.config.plugins import provider, trusted
from composer.config.spec import Choice
from composer.errors import ComposerError
from composer.system.constraints import check_arguments
from composer.system.signatures import check_keywords, keywords_of

#: Packages whose classes can be built, besides those of plugins.
TRUSTED_PACKAGES = ("composer", "diffusers")


def resolve(key: str, target: Choice, kind: type | None = None) -> type:
    """Import the class that a target names.

    Args:
        key: Config key of the node, for messages.
        target: The option.
        kind: Class that it must derive from; `None` for any.

    Returns:
        The class.

    Raises:
        ComposerError: It cannot be imported, is no class or not of the kind, or its package is not trusted.
    """
    module, _, name = target.path.rpartition(".")
    packages = (*TRUSTED_PACKAGES, *trusted())
    if module.split(".")[0] not in packages:
        raise ComposerError(f"{key}._target_", target.path, "only classes of these packages can be built", packages)
    try:
        cls = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way; it breaks only the runs that name it
        plugin, why = provider(module), (str(error).splitlines() or [type(error).__name__])[0]
        reason = (
            f"can't be imported: {why}"
            if plugin is None
            else f"can't be imported from {plugin}: {type(error).__name__}: {why}"
        )
        raise ComposerError(f"{key}._target_", target.path, reason) from None
    if not isinstance(cls, type) or cls.__module__.split(".")[0] not in packages:
        raise ComposerError(f"{key}._target_", target.path, "is not a class of these packages", packages)
    if kind is not None and not issubclass(cls, kind):
        raise ComposerError(f"{key}._target_", target.path, f"is not a {kind.__name__}")
    return cls


def build(key: str, target: Choice, kind: type) -> Any:
    """Resolve a target, check its keywords against the constructor's names and annotations, and call it.

    Args:
        key: Config key of the node, for messages.
        target: The class and its keywords.
        kind: The class that it must derive from.

    Returns:
        An object of the class.

    Raises:
        ComposerError: The class can't be resolved, a keyword is unknown or has a wrong value, or the class refuses it.
    """
    cls = resolve(key, target, kind)
    check_keywords(key, target.keywords, keywords_of(cls))
    check_arguments(key, cls, target.keywords)
    try:
        return cls(**target.keywords)
    except (TypeError, ValueError) as error:
        raise ComposerError(key, None, f"{cls.__name__} refuses its settings: {error}") from None
    except (ComposerError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        package = provider(cls.__module__) or "composer"
        raise ComposerError(
            key, None, f"{cls.__name__} of {package} can't be made: {type(error).__name__}: {error}"
        ) from None
