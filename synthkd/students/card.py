"""What a trained network says of itself: student.json, and the card that is made of it alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synthkd.config import NetworkConfig
from synthkd.students.artefact import origin, versions
from synthkd.students.hacking import in_words
from synthkd.students.lesson import Lesson
from synthkd.students.pretrained import Begun
from synthkd.students.trainer import Trained

KINDS = {
    "sft": "A causal model, fine-tuned on prompts and answers",
    "dpo": "A causal model, taught to prefer one answer to another (DPO, arXiv 2305.18290)",
    "seq2seq": "An encoder-decoder, fine-tuned on prompts and answers",
    "encoder": "An encoder that labels texts",
}
QUANTILES = (0.5, 0.9, 0.99, 1.0)


def length_quantiles(lengths: Iterable[int]) -> dict[str, int]:
    """Half, 90 %, 99 % and all of the examples are at most so long; {} = there are none."""
    ordered = sorted(lengths)
    n = len(ordered)
    return {f"{q:g}": ordered[min(n - 1, int(q * n))] for q in QUANTILES} if n else {}


def about_network(
    lesson: Lesson, mark: str, packages: Iterable[str], started: Begun, trained: Trained
) -> dict[str, Any]:
    """For student.json: what networks of every kind say; each adds what it learnt from.

    Args:
        lesson: what it was trained on.
        mark: its fingerprint.
        packages: whose versions are told.
        started: what training began with.
        trained: what it came to.
    """
    config = lesson.config
    assert isinstance(config, NetworkConfig)  # noqa: S101  the caller trains one
    return {
        "kind": config.kind,
        "fingerprint": mark,
        **trained.as_json(),
        "base": config.base or "a model made from nothing",
        "base_identity": started.identity,
        "license": started.license,
        "config": config.model_dump(mode="json"),
        "made_from": dict(lesson.made_from),
        "versions": versions(packages),
    }


def card(about: Mapping[str, Any]) -> str:
    """The card of a network of any kind.

    Args:
        about: for student.json.
    """
    config = about["config"]
    return f"""# {KINDS[about["kind"]]}

Trained by synthkd from {about["base"]}.

## Made from

{origin(about["made_from"])}
* base: {about["base"]}{_revision(config)}; licence: {about["license"]}

## What is learnt

{_learnt(about)}

## Training

{_training(about)}

## Load

```python
from pathlib import Path
from synthkd.students.kinds import load

load(Path(".")).predict(["a text"])
```

or, without synthkd:

```python
from transformers import {_auto(config)}, AutoTokenizer

model, tokenizer = {_auto(config)}.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```
{_served(config)}
The weights are safetensors, and nothing here runs code.

## Settings

{chr(10).join(f"* {name}: {value}" for name, value in config.items() if value is not None)}

{", ".join(f"{name} {version}" for name, version in about["versions"].items())}.
Fingerprint {about["fingerprint"]}.
"""


def _revision(config: Mapping[str, Any]) -> str:
    return f" at {config['revision']}" if config.get("revision") else ""


def _auto(config: Mapping[str, Any]) -> str:
    match config["kind"]:
        case "seq2seq":
            return "AutoModelForSeq2SeqLM"
        case "encoder":
            part = "Token" if config["spans"] else "Sequence"
            return f"AutoModelFor{part}Classification"
        case _:
            return "AutoModelForCausalLM"


def _served(config: Mapping[str, Any]) -> str:
    return "\nor as a server: `vllm serve .`.\n" if config["kind"] in {"sft", "dpo"} else ""


def _learnt(about: Mapping[str, Any]) -> str:
    return _labelled(about) if about["kind"] == "encoder" else _written(about)


def _labelled(about: Mapping[str, Any]) -> str:
    config = about["config"]
    said = [
        f"* rows: {about['rows']}",
        f"* it sees `{config['text']}` and learns `{config['label'] or config['spans']}`",
        f"* labels: {about['labels']}",
        f"* tokens: {about['tokens']:,}",
        f"* texts truncated to {config['max_length']} tokens: {about['truncated']}",
        f"* lengths in tokens: {_pairs(about['length_quantiles'])} (quantile: tokens)",
    ]
    if config["spans"]:
        said.append(
            f"* spans left out because they overlap longer ones: {about['overlapping']}; that the"
            f" tokens cannot express exactly: {about['inexact_spans']}"
        )
    return "\n".join(said)


def _written(about: Mapping[str, Any]) -> str:
    config = about["config"]
    seen = config.get("prompt") or config.get("messages")
    said = [f"* rows: {about['rows']}, examples: {about['examples']}"]
    if about["kind"] == "dpo":
        said.append(f"* after `{seen}` it prefers `{config['chosen']}` to `{config['rejected']}`")
    elif config.get("messages"):
        said.append(f"* every turn of the assistant in `{seen}`")
    else:
        task = "" if config["target"] == "completion" else f" as {config['target']}"
        fields = " and ".join(
            f"`{name}`" for name in (config["rationale"], config["completion"]) if name
        )
        said.append(f"* it sees `{seen}` and learns {fields}{task}")
    said += [
        f"* tokens: {about['tokens']:,}, with a loss: {about['tokens_learnt']:,}",
        f"* truncated to {config['max_length']} tokens: {about['truncated']}",
        f"* left out, because nothing of the answer fits: {about['left_out']}",
        f"* lengths in tokens: {_pairs(about['length_quantiles'])} (quantile: tokens)",
    ]
    if "curriculum" in about:
        said.append(f"* curriculum: {about['curriculum']}")
    if about.get("packing") is not None:
        said.append(f"* packed: {about['packing']:.1%} of the sequences is text")
    return "\n".join([*said, *_preview(about)])


def _preview(about: Mapping[str, Any]) -> list[str]:
    return [] if about["kind"] == "seq2seq" else ["* `preview.md` shows examples as it saw them"]


def _training(about: Mapping[str, Any]) -> str:
    losses = ", ".join(f"{loss:.4g} at step {step}" for step, loss in about["losses"])
    said = [
        f"* {about['steps']} steps in {about['precision']} on {about['hardware']}",
        f"* {about['tokens_per_s']:,.0f} tokens/s",
        f"* memory: at most {about['peak_memory_bytes'] / 2**20:,.0f} MiB",
        f"* loss: {losses}",
    ]
    if about["dev"]:
        said.append(f"* on the rows held out as dev: {_pairs(about['dev'])}")
    if "hacking" in about:
        said.append(f"* {in_words(about['hacking']) or 'teacher hacking: none was seen'}")
    return "\n".join(said)


def _pairs(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {value:.4g}" for name, value in values.items())
