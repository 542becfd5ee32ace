"""bespokelabs-curator: its own cache resumes a run in the same working folder.

    python with_curator.py URL SOURCE OUT IN_FLIGHT [REQUESTS_PER_MINUTE]

Runs without a network: telemetry off, prices local, and the tokenizer's vocabulary that litellm
brings along.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

url, source, out, in_flight, *per_minute = sys.argv[1:]
litellm = importlib.util.find_spec("litellm")
assert litellm is not None
assert litellm.origin is not None
os.environ |= {
    "TIKTOKEN_CACHE_DIR": str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TELEMETRY_ENABLED": "false",
    "CURATOR_VIEWER": "0",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": f"{out}.hf",
    "OPENAI_API_KEY": "none",
}

from bespokelabs import curator  # noqa: E402  it reads the environment when it is imported
from datasets import Dataset  # noqa: E402


class Ask(curator.LLM):  # type: ignore[misc]  # it has no types
    """Prompt in, answer out."""

    def prompt(self, row: dict[str, str]) -> str:
        return row["instruction"]

    def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
        return {"id": row["id"], "response": response}


def main() -> None:
    rows = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    unlimited = 10_000_000
    asking = Ask(
        model_name="gpt-4o-mini",
        backend="openai",
        generation_params={"max_tokens": 256},
        backend_params={
            "base_url": url,
            "max_concurrent_requests": int(in_flight),
            "max_requests_per_minute": int(per_minute[0]) if per_minute else unlimited,
            "max_tokens_per_minute": 1000 * unlimited,
            "request_timeout": 60,
            "require_all_responses": False,
        },
    )
    answered = asking(Dataset.from_list(rows), working_dir=f"{out}.work")
    getattr(answered, "dataset", answered).to_json(out)


if __name__ == "__main__":
    main()
