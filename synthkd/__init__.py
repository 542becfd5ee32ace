"""synthkd distils a teacher that can only be talked to into a dataset and a student you own.

from synthkd import Pipeline

pipeline = Pipeline.load("pipelines/quickstart.yaml")
result = await pipeline.run()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthkd.pipeline import Pipeline as Pipeline

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Pipeline` on first use: `import synthkd` alone stays light."""
    if name == "Pipeline":
        from synthkd.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'synthkd' has no attribute {name!r}")
