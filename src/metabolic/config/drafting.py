"""Rules of speculation that no single table can check."""

__all__ = ["drafting"]

from collections.abc import Iterable

from metabolic.config.tables import Config, DeploymentTable


def drafting(config: Config) -> Iterable[tuple[str, str]]:
    """Yield (where, what is wrong) with who drafts."""
    table = config.speculation
    if table.local in {"draft", "both"} and table.draft_model is None:
        yield "[speculation] draft_model", f'is missing: local = "{table.local}" needs one'
    known = {one.name: one for one in config.deployments}
    for one in config.deployments:
        if one.speculation is not None:
            yield from _twin(one, known)


def _twin(one: DeploymentTable, known: dict[str, DeploymentTable]) -> Iterable[tuple[str, str]]:
    """Yield what is wrong with one ``[deployment.speculation]``."""
    where = f"[[deployment]] {one.name} speculation"
    table = one.speculation
    if table is None:
        return
    if one.kind == "local":
        if table.method not in {"ngram", "draft"}:
            yield f"{where} method", 'a local model drafts by "ngram" or "draft"'
        if table.method == "draft" and table.draft_model is None:
            yield f"{where} draft_model", "is missing: which model of the catalogue drafts?"
    if table.twin_of is None:
        return
    other = known.get(table.twin_of)
    if other is None or other is one:
        yield f"{where} twin_of", f'"{table.twin_of}" is no other deployment'
    elif other.speculation is not None:
        yield f"{where} twin_of", f'"{table.twin_of}" drafts itself'
    elif one.kind == "local" and (other.kind, other.model) != (one.kind, one.model):
        yield f"{where} twin_of", f'"{table.twin_of}" is another model'
