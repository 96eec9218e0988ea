"""`compose schema`."""

from __future__ import annotations

import json

from composer.config.command_line import ParsedArgs
from composer.system import console


def run(line: ParsedArgs) -> int:
    """Run `compose schema`: print the JSON Schema of the config.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: Words follow.
    """
    line.refuse_words("it describes the config of every run")
    from composer.api.schema import config_schema

    schema = config_schema(line.config_dir)
    console.report_facts(schema, json.dumps(schema, indent=1, ensure_ascii=False))
    return 0
