"""Seconds that vLLM takes for prompts by itself; run by the Python of an environment with vLLM.

echo '{"model": DIR, "max_tokens": 200, "questions": [...]}' | python tests/bench/vllm_offline.py
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Read what is asked, and print the seconds."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    from vllm import LLM, SamplingParams

    asked = json.load(sys.stdin)
    llm = LLM(
        asked["model"],
        dtype="float32",
        max_model_len=2048,
        enforce_eager=True,
        enable_prefix_caching=False,
    )
    chats = [[{"role": "user", "content": question}] for question in asked["questions"]]
    params = [
        SamplingParams(max_tokens=asked["max_tokens"], seed=number) for number in range(len(chats))
    ]
    llm.chat(chats[:100], params[:100], use_tqdm=False)
    started = time.perf_counter()
    llm.chat(chats, params, use_tqdm=False)
    print("\n" + json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
