"""distilabel: one step that generates; its cache resumes a run of the same folder.

    python with_distilabel.py URL SOURCE OUT IN_FLIGHT

It has no setting for a rate limit.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

url, source, out, in_flight, *_ = sys.argv[1:]
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": f"{out}.hf",
    "DISTILABEL_LOG_LEVEL": "WARNING",
}


from distilabel.models import OpenAILLM  # noqa: E402  it reads the environment when it is imported
from distilabel.pipeline import Pipeline  # noqa: E402
from distilabel.steps import LoadDataFromDicts  # noqa: E402
from distilabel.steps.tasks import TextGeneration  # noqa: E402


def main() -> None:
    rows = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    size = int(in_flight)
    with Pipeline(name="bench", cache_dir=f"{out}.cache") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=size)
        model = OpenAILLM(
            model="fake",
            base_url=url,
            api_key="none",
            timeout=60,
            generation_kwargs={"max_new_tokens": 256},
        )
        load >> TextGeneration(llm=model, input_batch_size=size)
    made = pipeline.run(use_cache=True)["default"]["train"]
    with Path(out).open("w", encoding="utf-8") as file:
        for row in made:
            answer = {"id": row["id"], "response": row["generation"]}
            file.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
