"""The field by which a request switches speculation, where an engine knows one. No I/O."""

__all__ = ["DraftField", "field_of"]

from msgspec import Raw, Struct, json

from metabolic.core.engine import SpeculationControl

_NO_MODEL = "null"


class DraftField(Struct, frozen=True, kw_only=True):
    """Its name; ``model`` is what it names to draft, ``None`` where it is a number of tokens."""

    name: str
    model: str | None = None

    def put(self, fields: dict[str, Raw], tokens: int) -> None:
        """Ask for so many drafted tokens; 0 is none, whatever the client or the server says."""
        if self.model is None:
            fields[self.name] = Raw(str(tokens).encode())
        elif tokens:
            fields[self.name] = Raw(json.encode(self.model))
        else:
            fields.pop(self.name, None)


def field_of(control: SpeculationControl, draft_model: str | None) -> DraftField | None:
    """Return the field an engine is switched by; ``None``: no request switches it."""
    if control.granularity != "request" or control.field is None:
        return None
    if control.off == _NO_MODEL:
        return None if draft_model is None else DraftField(name=control.field, model=draft_model)
    return DraftField(name=control.field)
