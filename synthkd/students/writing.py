"""Writing by a causal model in this process: many prompts at once, each by its own rules.

    writer = load_writer(Path("data/out/quickstart/student"))
    writer.write([Ask(tokens=writer.chat_tokens(messages), max_tokens=64)])
    writer.logprobs([tokens])

What a prompt is answered does not depend on what else is in the batch: each has a source of chance
of its own, and the padding is masked. (Sums of floating-point numbers differ in the last digit with
the size of the batch; where two tokens are as good as equal, that may decide.)
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from synthkd.errors import UserError
from synthkd.students.pretrained import context_of, whole

if TYPE_CHECKING:
    import torch

SCORED_TOKENS = 2**14
"""Of the texts that are scored in one pass, padding included: their logits are held at once."""
TAIL_TOKENS = 16
"""More than the longest stop text has: a token may be a part of a letter, and write nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One prompt and how its answer is to be written."""

    tokens: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    """0 = always the likeliest token."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability (nucleus sampling)."""
    stop: Sequence[str] = ()
    """The answer ends before the first of these."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An answer."""

    text: str
    finish: Literal["stop", "length"]
    tokens: Sequence[int]
    """As written: with the token that ended it, and with a stop text."""


class Writer:
    """A causal model with its tokenizer; asked by one thread at a time.

    Args:
        model: as `AutoModelForCausalLM` loads it, in evaluation mode.
        tokenizer: as `AutoTokenizer` loads it.
        left: set when nobody wants the answers any more: writing ends at the next token.
    """

    def __init__(self, model: Any, tokenizer: Any, left: threading.Event | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.left = left or threading.Event()
        self.ends = _end_tokens(model, tokenizer)
        self.context = context_of(model)
        """Tokens of prompt and answer, at most; None = the model has no limit of its own."""

    def chat_tokens(
        self, messages: Sequence[Mapping[str, Any]], *, opens: bool = True
    ) -> list[int]:
        """A conversation in the model's own template.

        Args:
            messages: with `role` and `content`.
            opens: whether the model is to speak next; False = the conversation ends as it does.

        Raises:
            UserError: the model has no template.
        """
        if not self.tokenizer.chat_template:
            raise UserError(
                f"{self.tokenizer.name_or_path} has no chat template: ask it with a raw prompt"
                " (`api: completions` in the head of the prompt file)"
            )
        tokens: list[int] = self.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=opens, return_dict=True
        )["input_ids"]
        return tokens

    def raw_tokens(self, text: str) -> list[int]:
        """A text as it stands, with the token that begins every text, where the model has one."""
        tokens: list[int] = self.tokenizer(text)["input_ids"]
        return tokens

    def write(self, asks: Sequence[Ask]) -> list[Written]:
        """An answer to each prompt; all of them are one batch.

        Raises:
            InterruptedError: nobody wants them any more.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        length = max(len(ask.tokens) for ask in asks)
        filler = self.ends[0]
        padded = [[filler] * (length - len(ask.tokens)) + list(ask.tokens) for ask in asks]
        mask = [[0] * (length - len(ask.tokens)) + [1] * len(ask.tokens) for ask in asks]
        device = self.model.device
        with torch.inference_mode(), _no_settings_of_its_own(self.model), self._places_there_are():
            rows = self.model.generate(
                input_ids=torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                generation_config=GenerationConfig(
                    do_sample=False,  # `_Choosing` has chosen
                    max_new_tokens=max(ask.max_tokens for ask in asks),
                    eos_token_id=self.ends,
                    pad_token_id=filler,
                ),
                logits_processor=LogitsProcessorList([_choosing(asks)]),
                stopping_criteria=StoppingCriteriaList([self._ending(asks, length)]),
            )
        if self.left.is_set():
            raise InterruptedError
        return [
            self._written(ask, row[length:].tolist()) for ask, row in zip(asks, rows, strict=True)
        ]

    @contextmanager
    def _places_there_are(self) -> Iterator[None]:
        """A row that is done is fed with its batch on, beyond the last place that a model has."""
        if self.context is None:
            yield
            return
        last = self.context - 1

        def clamped(_: Any, args: Any, named: dict[str, Any]) -> Any:
            places = named.get("position_ids")
            if places is not None:
                named = {**named, "position_ids": places.clamp(max=last)}
            return args, named

        hook = self.model.register_forward_pre_hook(clamped, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def logprobs(self, texts: Sequence[Sequence[int]]) -> list[list[float | None]]:
        """How likely each token of each text is after those before it: natural logarithms.

        Nothing stands before the first, so it has None.
        """
        found: list[list[float | None]] = [[]] * len(texts)
        by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        while by_length:
            longest = len(texts[by_length[-1]])
            together = by_length[-max(1, SCORED_TOKENS // max(longest, 1)) :]
            del by_length[-len(together) :]
            scored = self._logprobs([texts[place] for place in together])
            for place, values in zip(together, scored, strict=True):
                found[place] = values
        return found

    def _logprobs(self, texts: Sequence[Sequence[int]]) -> list[list[float | None]]:
        import torch

        if self.left.is_set():
            raise InterruptedError
        length = max(map(len, texts))
        if length < 2:
            return [[None] * len(text) for text in texts]
        # The padding is on the right: no token sees it, because none looks ahead.
        padded = [[*text, *[self.ends[0]] * (length - len(text))] for text in texts]
        tokens = torch.tensor(padded, device=self.model.device)
        mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])
        with torch.inference_mode():
            logits = self.model(
                input_ids=tokens, attention_mask=mask.to(tokens.device), use_cache=False
            ).logits[:, :-1]
            of_tokens = logits.gather(-1, tokens[:, 1:, None])[..., 0].float()
            values = (of_tokens - torch.logsumexp(logits.float(), dim=-1)).tolist()
        return [
            [None, *row[: len(text) - 1]] if text else []
            for text, row in zip(texts, values, strict=True)
        ]

    def _written(self, ask: Ask, tokens: list[int]) -> Written:
        """The row of a batch up to its own end."""
        tokens = tokens[: ask.max_tokens]
        ended = next((n for n, token in enumerate(tokens) if token in self.ends), None)
        if ended is not None:
            tokens = tokens[: ended + 1]
        text = self._text(tokens)
        cuts = [place for stop in ask.stop if (place := text.find(stop)) >= 0]
        if cuts:
            text = text[: min(cuts)]
        by_itself = ended is not None or bool(cuts)
        return Written(text=text, finish="stop" if by_itself else "length", tokens=tokens)

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _ending(self, asks: Sequence[Ask], start: int) -> Any:
        """When each row of a batch is at its end, besides by a token that ends it."""
        import torch

        tails = [max((len(stop.encode()) for stop in ask.stop), default=0) for ask in asks]

        def at_end(rows: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
            written = rows.shape[1] - start
            ends = [self.left.is_set() or written >= ask.max_tokens for ask in asks]
            for place, ask in enumerate(asks):
                if ask.stop and not ends[place]:
                    tail = rows[place, max(start, rows.shape[1] - tails[place] - TAIL_TOKENS) :]
                    text = self._text(tail.tolist())
                    ends[place] = any(stop in text for stop in ask.stop)
            return torch.tensor(ends, device=rows.device)

        return at_end


def _choosing(asks: Sequence[Ask]) -> Any:
    """The next token of each row, drawn from its own source of chance.

    It is given to `generate` as the only token that is possible.
    """
    import torch

    chances = [random.Random(ask.seed) for ask in asks]  # noqa: S311  reproducible on purpose
    sampled = [place for place, ask in enumerate(asks) if ask.temperature > 0]

    def chosen(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens = scores.argmax(dim=-1)
        if sampled:
            drawn = [chances[place].random() for place in sampled]
            tokens[sampled] = _drawn(scores[sampled], [asks[place] for place in sampled], drawn)
        only = torch.full_like(scores, -math.inf)
        return only.scatter_(1, tokens[:, None], 0.0)

    return chosen


def _drawn(scores: torch.Tensor, asks: Sequence[Ask], drawn: Sequence[float]) -> torch.Tensor:
    """One token a row, by the inverse of the cumulative distribution.

    Args:
        scores: (n_rows, n_tokens) logits.
        asks: of each row: temperature, and the nucleus (Holtzman et al., arXiv 1904.09751).
        drawn: of each row: a number in [0, 1).
    """
    import torch

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, device=scores.device)[:, None]

    scaled = scores.double() / column([ask.temperature for ask in asks])
    shares, tokens = torch.softmax(scaled, dim=-1).sort(dim=-1, descending=True, stable=True)
    before = shares.cumsum(dim=-1) - shares
    shares = shares.where(before < column([ask.top_p for ask in asks]), 0.0)
    reached = shares.cumsum(dim=-1)
    places = torch.searchsorted(reached, column(drawn) * reached[:, -1:], right=True)
    last = (shares > 0).sum(dim=-1, keepdim=True) - 1  # where a sum was rounded up
    return tokens.gather(1, places.minimum(last))[:, 0]


@contextmanager
def _no_settings_of_its_own(model: Any) -> Iterator[None]:
    """What a call of `generate` leaves open is taken from here: penalties, a top_k."""
    from transformers import GenerationConfig

    kept, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = kept


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer: those of the model's generation config, and the tokenizer's.

    Raises:
        UserError: there is none.
    """
    told = model.generation_config.eos_token_id
    ends = told if isinstance(told, list) else [told]
    found = list(dict.fromkeys(end for end in [*ends, tokenizer.eos_token_id] if end is not None))
    if not found:
        raise UserError(f"{tokenizer.name_or_path} has no token that ends an answer (eos_token)")
    return found


def load_writer(folder: Path, left: threading.Event | None = None) -> Writer:
    """The causal model in a folder, on the GPU if there is one. Loading runs nothing of it.

    Args:
        folder: config, safetensors and tokenizer in Hugging Face's layout.
        left: as of `Writer`.

    Raises:
        UserError: there is no such model, or it cannot be loaded here.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = whole(
            AutoModelForCausalLM,
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype="auto" if gpu else torch.float32,  # half numbers are slow on a CPU
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} cannot be loaded as a causal model: {error}") from None
    return Writer(model.to("cuda" if gpu else "cpu").eval(), tokenizer, left)
