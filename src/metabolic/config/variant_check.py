"""What is wrong with variants, and with names that may mean one."""

__all__ = ["differences", "targets"]

from collections.abc import Collection, Iterator

from metabolic.config.tables import Config, DeploymentTable
from metabolic.decide.variants import key_of


def differences(deployment: DeploymentTable) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the variants of a deployment."""
    for one in deployment.variants:
        for problem in one.problems():
            yield f"[[deployment]] {deployment.name} variants {one.name}", problem


def targets(config: Config, deployments: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield names in pins, beliefs and virtual models that no deployment and no variant has."""
    variants = {key_of(one.name, each.name) for one in config.deployments for each in one.variants}
    for name in sorted(variants.intersection(deployments)):
        yield "[[deployment]] name", f'"{name}" is also the name of a variant'
    named = [
        *(
            (f"[[virtual]] {one.name} allowed", name)
            for one in config.virtuals
            for name in one.allowed
        ),
        *(
            (f"[[lane]] {one.name} deployment", key_of(one.deployment, one.variant))
            for one in config.pins
        ),
        *(("[[belief]] deployment", one.deployment) for one in config.beliefs),
    ]
    for where, name in named:
        if name not in variants and name not in deployments:
            yield where, f'"{name}" is no deployment'
