"""NVIDIA Data Designer: a seed file and one column that a model writes.

    python with_data_designer.py URL SOURCE OUT IN_FLIGHT

A killed run is taken up with its ResumeMode.ALWAYS. It finds a rate limit by meeting it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

url, source, out, in_flight, *_ = sys.argv[1:]
os.environ |= {
    "NEMO_TELEMETRY_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "DATA_DESIGNER_HOME": f"{out}.home",
}

import data_designer.config as dd  # noqa: E402  it reads the environment when it is imported
from data_designer.interface import DataDesigner  # noqa: E402


def main() -> None:
    with Path(source).open("rb") as lines:
        rows = sum(1 for _ in lines)
    provider = dd.ModelProvider(name="bench", endpoint=url, provider_type="openai", api_key="none")
    model = dd.ModelConfig(
        alias="teacher",
        model="fake",
        provider="bench",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(
            max_tokens=256, max_parallel_requests=int(in_flight), timeout=60
        ),
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=source))
    builder.add_column(
        dd.LLMTextColumnConfig(name="response", model_alias="teacher", prompt="{{ instruction }}")
    )
    artifacts = Path(f"{out}.artifacts")
    resume = {"resume": dd.ResumeMode.ALWAYS} if artifacts.exists() else {}
    designer = DataDesigner(artifact_path=artifacts, model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None, disable_early_shutdown=True))
    made = designer.create(builder, num_records=rows, dataset_name="bench", **resume)
    made.load_dataset().to_json(out, orient="records", lines=True)


if __name__ == "__main__":
    main()
