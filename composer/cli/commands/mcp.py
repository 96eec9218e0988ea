"""`compose mcp`."""

from __future__ import annotations

from importlib.util import find_spec

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError


def run(line: ParsedArgs) -> int:
    """Run `compose mcp [folder=DIR] [images=DIR] …` until the client closes stdin.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: A setting is invalid, or a package is missing.
    """
    from composer.server.settings import AgentSettings, read_settings

    if line.json:
        raise ComposerError("--json", None, "does not go with mcp, whose client reads stdout: omit --json")
    settings = read_settings(line.overrides, AgentSettings)
    if find_spec("mcp") is None or find_spec("mcp_types") is None:
        raise ComposerError("mcp", None, "version 2 or later is not installed: pip install 'diffusion-composer[mcp]'")
    from composer.server.agent_server import serve

    serve(settings)
    return 0
