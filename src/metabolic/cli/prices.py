"""``metabolic prices``: which prices audits go by, and where they are from."""

__all__ = ["app", "show_prices", "update_prices"]

import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from metabolic.audit.price_update import LITELLM, kept_path, update
from metabolic.audit.prices import read_prices
from metabolic.cli import show
from metabolic.core.errors import ConfigError

app = App(name="prices", help="Prices that audits go by: show them, update them.")

_SHOWN = 10

Flag = Annotated[bool, Parameter(negative="")]


@app.command(name="show")
def show_prices(model: str | None = None, /, *, json: Flag = False) -> None:
    """Show what a model asks, or every model, with the date of the table.

    Args:
        model: As a log names it; a vendor's prefix or a date may be missing.
        json: Print JSON instead of a table.
    """
    table = read_prices(kept=kept_path())
    names = table.named() if model is None else (model,)
    found = [entry for name in names if (entry := table.find(name)) is not None]
    if not found:
        message = f'no price is known of "{model}"'
        raise ConfigError(message)
    if json:
        show.print_json({"as_of": table.as_of, "prices": tuple(found)})
        return
    rows = (
        (
            one.model,
            f"{one.input:g}",
            "–" if one.cached is None else f"{one.cached:g}",
            f"{one.output:g}",
            "–" if one.parameters is None else f"{one.parameters / 1e9:g} B",
        )
        for one in found
    )
    heads = ("model", ">input", ">cached", ">output", ">parameters")
    show.console().print(show.table(f"USD per million tokens, {table.as_of}", heads, rows))


@app.command(name="update")
def update_prices(
    *,
    source: Annotated[str, Parameter(name="--from")] = LITELLM,
    to: Path | None = None,
    json: Flag = False,
) -> None:
    """Fetch a table of prices, look it over, and keep it for audits; nothing else is sent.

    A table that is broken, too short or in other units is refused, and the old one stays.

    Args:
        source: A file or an https address: LiteLLM's JSON, or a table of ours (TOML).
        to: Where to keep it (else the user's data folder).
        json: Print JSON instead of text.
    """
    made = update(source, to=to or kept_path(), now_s=time.time())
    if json:
        show.print_json(made)
        return
    print(f"{made.models} models as of {made.as_of}, {made.added} of them new: {made.path}")
    print(f"source: {made.source}; {made.skipped} entries without a price per token left out")
    for one in made.changed[:_SHOWN]:
        print(f"  {one}")
    if len(made.changed) > _SHOWN:
        print(f"  and {len(made.changed) - _SHOWN} more prices changed")
