"""The flags `--cfg job|hydra|all`, `--package` and `--resolve`: a composed config as YAML, in Hydra's format.

`compose config` also shows where values come from.
"""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf, open_dict

from composer.config.command_line import ParsedArgs
from composer.config.node_data import node_to_dict
from composer.config.read import plain
from composer.config.secrets import refuse_secrets
from composer.errors import ComposerError

KINDS = ("job", "hydra", "all")


def config_text(config: DictConfig, line: ParsedArgs) -> str:
    """Format the part of a composed config that flags request.

    Args:
        config: The composed config with Hydra's own node; nodes that are not requested are removed from it.
        line: The parsed command line.

    Returns:
        YAML text.

    Raises:
        ComposerError: There is no such part, or it holds a secret.
    """
    kind, package = line.config_part or ("job", None)
    if kind not in KINDS:
        raise ComposerError("--cfg", kind, "which part?", KINDS)
    with open_dict(config):
        for name in list(config):
            if (kind == "job" and name == "hydra") or (kind == "hydra" and name != "hydra"):
                del config[name]
    part = config if package in (None, "_global_") else OmegaConf.select(config, package)
    if not OmegaConf.is_config(part):
        raise ComposerError("--package", package, "there is no such node", list(config))
    refuse_secrets(node_to_dict(part))
    header = "" if part is config else f"# @package {package}\n"
    return header + OmegaConf.to_yaml(OmegaConf.create(plain(part)) if line.resolve else part)
