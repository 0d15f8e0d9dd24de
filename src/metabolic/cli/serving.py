"""What ``metabolic serve`` does, and its plain arguments read without the command-line library.

That library takes a sixth of the time until a gateway listens. A process manager gives a file, an
address, a port: these are read here, and whatever else there is (help, a typing error, another
spelling) is left to the library, which knows them all.
"""

__all__ = ["PROFILES", "Plain", "Profile", "address", "banner", "plain", "run"]

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import msgspec

from metabolic import __version__
from metabolic.cli import show
from metabolic.config import Config, load, override
from metabolic.config.check import is_loopback

Profile = Literal["auto", "datacenter", "edge", "mcu"]

PROFILES: tuple[str, ...] = get_args(Profile)

_HIGHEST_PORT = 65535


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of ``serve``; ``None`` where not given."""

    host: str | None = None
    port: int | None = None
    config: Path | None = None
    profile: Profile | None = None
    shadow: str | None = None
    json: bool = False


def plain(words: Sequence[str]) -> Plain | None:
    """Return the arguments after ``serve``; ``None`` when the library must read them.

    >>> plain(["--port", "8081"]).port
    8081
    >>> plain(["--port", "many"]) is None
    True
    """
    given: dict[str, str] = {}
    as_json = False
    left = iter(words)
    for word in left:
        if word == "--json" and not as_json:
            as_json = True
            continue
        name, value = word.removeprefix("--"), next(left, "")
        known = word in {"--host", "--port", "--config", "--profile", "--shadow"}
        if not known or name in given or not value or value.startswith("-"):
            return None
        given[name] = value
    port, profile = given.get("port"), given.get("profile")
    if port is not None and not (port.isascii() and port.isdigit() and int(port) <= _HIGHEST_PORT):
        return None
    if profile is not None and profile not in PROFILES:
        return None
    path = given.get("config") or os.environ.get("METABOLIC_CONFIG")
    return Plain(
        host=given.get("host"),
        port=None if port is None else int(port),
        config=Path(path) if path else None,
        profile=cast("Profile | None", profile),
        shadow=given.get("shadow"),
        json=as_json,
    )


def run(asked: Plain) -> int:
    """Serve until told to stop; return the exit code."""
    from metabolic import wiring  # noqa: PLC0415 - `--help` does without it
    from metabolic.gateway import server  # noqa: PLC0415 - as above

    def read() -> Config:
        return override(
            load(asked.config),
            host=asked.host,
            port=asked.port,
            profile=asked.profile,
            shadow=asked.shadow,
        )

    settings = read()
    said: list[str] = []
    runtime = wiring.build(settings, say=said.append)
    names = tuple(one.name for one in runtime.deployments())
    if asked.json:
        about = {"url": address(settings), "deployments": names, "source": " ".join(said)}
        show.print_json({**about, "config": settings.source, "version": __version__})
    else:
        print(banner(settings, names=names, source=" ".join(said)), file=sys.stderr)
    sys.stdout.flush()
    return server.serve(runtime, load=read)


def address(config: Config) -> str:
    """Return the base URL that clients are given."""
    host, port = config.server.host, config.server.port
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - only shown
    bracketed = f"[{shown}]" if ":" in shown and not shown.startswith("[") else shown
    return f"http://{bracketed}:{port or '<port>'}/v1"


def banner(config: Config, *, names: tuple[str, ...], source: str) -> str:
    """Return what a person wants to know first: what runs, where, and how to ask it."""
    lines = (
        f"metabolic {__version__}, configuration: {config.source}",
        *([f"models: {source}"] if source else []),
        f"deployments: {', '.join(names) or 'none'}; profile: {config.profile.name}",
        *_shadow(config),
        *_page(config),
        *_listening(config),
    )
    return "\n".join(lines)


def _listening(config: Config) -> tuple[str, ...]:
    """Return where it listens and, where models are ours to choose, how to ask it."""
    if config.shadow.observes:
        return (f"listening on {address(config)}: point your clients here, with their own keys",)
    key = ' \\\n    -H "Authorization: Bearer $KEY"' if config.keys else ""
    return (
        f"listening on {address(config)} as soon as the first model is up; try",
        "",
        f"  curl {address(config)}/chat/completions{key} -H 'content-type: application/json' \\",
        """    -d '{"model": "auto", "messages": [{"role": "user", "content": "Is 17 prime?"}]}'""",
        "",
    )


def _page(config: Config) -> tuple[str, ...]:
    """Return where the page is, in a line; nothing where there is none."""
    admin, host = config.admin, config.server.host
    if not admin.page:
        return ()
    if admin.port is not None:
        where = f"[{admin.host}]" if ":" in admin.host else admin.host
        return (f"page: http://{where}:{admin.port or '<port>'}/ui",)
    if config.keys or not is_loopback(host):
        return ("page: none beside clients with keys; give it a listener of its own: [admin] port",)
    return (f"page: {address(config).removesuffix('/v1')}/ui",)


def _shadow(config: Config) -> tuple[str, ...]:
    """Return what shadow mode does, in a line; nothing where it is off."""
    if not config.shadow.observes:
        return ()
    return (f"shadow: requests go to {config.shadow.upstream} untouched; see metabolic shadow",)
