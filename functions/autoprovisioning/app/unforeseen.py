"""An unforeseen error happens to one user, or one connection: it is logged, and the others go on."""

from __future__ import annotations

import logging
import traceback

from autoprovisioning.domain.errors import ProvisioningError, Unforeseen

log = logging.getLogger(__name__)


def unforeseen(error: Exception) -> Unforeseen:
    """Log an exception with its stack trace and the alert; returns what may be shown: only its kind."""
    # In the message, which is redacted, and where Error Reporting looks for it.
    trace = "".join(traceback.format_exception(error))
    log.error("Unforeseen error\n%s", trace, extra={"json_fields": {"alert": Unforeseen.code}})
    return Unforeseen(f"An unforeseen error ({type(error).__name__}). See the log, and report it.")


def known_or_unforeseen(error: Exception) -> ProvisioningError:
    """Return an error of this system's own as it is, and any other one as `unforeseen` does."""
    return error if isinstance(error, ProvisioningError) else unforeseen(error)
