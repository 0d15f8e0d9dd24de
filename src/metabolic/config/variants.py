"""``[[deployment.variants]]``: the same weights at another effort or output budget."""

__all__ = ["VariantTable"]

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from metabolic.core.fleet import Variant

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"
_OURS = frozenset({"messages", "model", "stream", "stream_options", "n", "tools"})
_NEVER = frozenset({"api_base", "api_key", "base_url", "headers", "extra_headers"})

_Tokens = Annotated[int, Meta(ge=1)]


class VariantTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``body`` are further fields of the upstream's own; the others are as in ``core.fleet``."""

    name: Annotated[str, Meta(pattern=_NAME)]
    reasoning_effort: str | None = None
    max_output_tokens: _Tokens | None = None
    thinking: bool | None = None
    thinking_tokens: _Tokens | None = None
    output_ratio: Annotated[float, Meta(gt=0, le=100)] | None = None
    body: dict[str, Any] = {}

    def variant(self) -> Variant:
        """Return it as a value of the core."""
        return Variant(
            name=self.name,
            reasoning_effort=self.reasoning_effort,
            max_output_tokens=self.max_output_tokens,
            thinking=self.thinking,
            thinking_tokens=self.thinking_tokens,
            output_ratio=self.output_ratio,
            body=msgspec.json.encode(self.body).decode() if self.body else None,
        )

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with it."""
        for name in sorted(self.body.keys() & (_OURS | _NEVER)):
            yield f'body "{name}" is not for a variant to set'
        said = self.reasoning_effort, self.max_output_tokens, self.thinking, self.thinking_tokens
        if not self.body and all(one is None for one in said):
            yield "differs in nothing: give reasoning_effort, thinking, max_output_tokens or body"
