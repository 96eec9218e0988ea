"""The MCP server of `compose mcp`: its tools over stdin and stdout, until the client closes stdin."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent, ToolAnnotations

from composer.errors import Busy, ComposerError
from composer.server.agent_tools import AgentTools
from composer.server.service import Service
from composer.server.settings import AgentSettings
from composer.server.supervisor import Supervisor
from composer.server.worker import SERVER, lock
from composer.version import __version__

#: Tools that change nothing, and those that generate.
READING, GENERATING = ("list", "show", "check", "plan", "status"), ("run", "rerun", "upload")
#: Tool → its method, where the name is one of Python.
METHODS = {"list": "list_options"}
INSTRUCTIONS = (
    "Generates images, clips and sounds with diffusion models. Look up options with list, try a request with check or "
    "show, learn its cost with plan, and then run it. Overrides are words KEY=VALUE as on composer's command line."
)


def make_server(tools: AgentTools) -> MCPServer[Any]:
    """Make the server.

    Args:
        tools: Its tools.

    Returns:
        The server, which is not running yet.
    """
    server: MCPServer[Any] = MCPServer(
        "composer", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING"
    )  # fmt: skip
    for name in (*READING, *GENERATING):
        reads = name in READING
        annotations = ToolAnnotations(read_only_hint=reads, destructive_hint=False, open_world_hint=False)
        server.add_tool(one_line(getattr(tools, METHODS.get(name, name))), name=name, annotations=annotations)
    return server


def one_line(tool: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Let a tool fail with the line that the command line prints; the package puts words in front of what is raised.

    Args:
        tool: The tool.
    """

    @functools.wraps(tool)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return tool(*args, **kwargs)
        except ComposerError as error:
            return CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)

    return called


def serve(settings: AgentSettings) -> None:
    """Serve until stdin ends.

    Args:
        settings: The settings.

    Raises:
        Busy: Another service uses the directory.
    """
    folder = settings.path
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock(folder, SERVER, wait=False):
            service, supervisor = Service(folder, settings.queue), Supervisor(folder, settings.workers)
            supervisor.start()
            try:
                make_server(AgentTools(service, settings)).run("stdio")
            finally:
                supervisor.stop(settings.grace)
    except BlockingIOError:
        raise Busy("mcp folder", folder, "another service uses it: stop that one, or name another folder") from None
