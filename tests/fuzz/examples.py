"""How many examples the fuzz tests try, and how: `FUZZ_EXAMPLES` scales them, and in CI they are always the same."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

COUNT = int(os.environ.get("FUZZ_EXAMPLES", "60"))
EXAMPLES = settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
