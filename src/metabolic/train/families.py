"""What a model's name says of its size: ``account.families``, which decisions start from too."""

__all__ = ["active_parameters", "tier_of"]

from metabolic.account.families import active_parameters, tier_of
