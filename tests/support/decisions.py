"""A decision, as tests ask about it: what is done, why, and whether the account is asked first."""

from autoprovisioning.domain.decision import Decision, Do, Nothing
from autoprovisioning.domain.entry import Action, Trigger


def action_of(decision: Decision) -> Action | None:
    """Return what is done, None where nothing is."""
    return decision.action if isinstance(decision, Do) else None


def trigger_of(decision: Decision) -> Trigger | None:
    """Return why access is taken away."""
    return decision.trigger if isinstance(decision, Do) else None


def unsure(decision: Decision) -> bool:
    """Say whether the account must be asked first."""
    return isinstance(decision, Nothing) and decision.unsure
