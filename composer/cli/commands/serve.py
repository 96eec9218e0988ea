"""`compose serve`."""

from __future__ import annotations

from importlib.util import find_spec

from composer.config.command_line import ParsedArgs
from composer.errors import ComposerError
from composer.system import console

#: Packages of the extra `serve`.
PACKAGES = ("starlette", "uvicorn", "python_multipart")


def run(line: ParsedArgs) -> int:
    """Run `compose serve [--host H] [--port N] [folder=DIR] …` until SIGTERM or Ctrl-C.

    Args:
        line: The command line.

    Returns:
        The exit code.

    Raises:
        ComposerError: A setting is invalid, a package is missing, or the address is taken.
    """
    from composer.server.settings import TOKEN, ServeSettings, read_settings, read_token

    settings = read_settings(line.overrides, ServeSettings)
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        reason = f"{missing[0]} is not installed: pip install 'diffusion-composer[serve]'"
        raise ComposerError("serve", None, reason)
    import os

    from composer.server import logs
    from composer.server.run import serve

    logs.configure(settings.log)
    token, is_own = read_token(), TOKEN in os.environ

    def started(address: str) -> None:
        facts = {"address": address, "token": None if is_own else token, "folder": str(settings.path)}
        shown = "" if is_own else f"\ntoken={token}\npage: {address}/#token={token}"
        console.report_facts(facts, f"listening at {address}{shown}")

    try:
        serve(settings, token, started)
    except OSError as error:
        raise ComposerError("serve port", settings.port, f"can't listen at {settings.host}: {error.strerror}") from None
    return 0
