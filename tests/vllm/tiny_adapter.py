"""Makes a LoRA adapter with random weights for the tiny model. Nothing is downloaded.

    python tests/vllm/tiny_adapter.py MODEL FOLDER

It needs numpy and safetensors, as they are in an environment with vLLM.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RANK = 8
TARGETS = ("q_proj", "v_proj")


def make(model: Path, folder: Path) -> None:
    """Write an adapter of the attention of this model."""
    import numpy as np
    from safetensors.numpy import save_file

    config = json.loads((model / "config.json").read_bytes())
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    chance = np.random.default_rng(1)
    tensors = {}
    for layer in range(layers):
        for target in TARGETS:
            place = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            down = chance.normal(0, 0.3, (RANK, width))
            up = chance.normal(0, 0.3, (width, RANK))
            tensors[f"{place}.lora_A.weight"] = down.astype(np.float32)
            tensors[f"{place}.lora_B.weight"] = up.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": list(TARGETS),
        "bias": "none",
        "base_model_name_or_path": "tiny",
    }
    (folder / "adapter_config.json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
