"""`compose --cfg job|hydra|all`: a composed config as YAML, as Hydra's programs print it. `compose config` says where
values come from.
"""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf, open_dict

from composer.config.command_line import ParsedArgs
from composer.config.node_data import node_to_dict
from composer.config.read import plain
from composer.config.secrets import refuse_secrets
from composer.errors import ComposerError

KINDS = ("job", "hydra", "all")


def printed(config: DictConfig, line: ParsedArgs) -> str:
    """The part of a composed config, Hydra's node included, that flags ask for.

    Raises:
        ComposerError: there is no such part, or it holds a secret.
    """
    kind, package = line.shows or ("job", None)
    if kind not in KINDS:
        raise ComposerError("--cfg", kind, "which part?", KINDS)
    with open_dict(config):
        for name in list(config):
            if (kind == "job" and name == "hydra") or (kind == "hydra" and name != "hydra"):
                del config[name]
    found = config if package in (None, "_global_") else OmegaConf.select(config, package)
    if not OmegaConf.is_config(found):
        raise ComposerError("--package", package, "there is no such node", list(config))
    refuse_secrets(node_to_dict(found))
    header = "" if found is config else f"# @package {package}\n"
    return header + OmegaConf.to_yaml(OmegaConf.create(plain(found)) if line.resolve else found)
