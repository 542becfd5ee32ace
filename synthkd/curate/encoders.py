"""Vectors from a model in a folder or on the hub: static word vectors, or a sentence encoder.

    embed: {kind: model2vec, model: ./potion-base-8M}            # no torch; a look-up and a mean
    embed: {kind: sentence_transformers, model: sentence-transformers/all-MiniLM-L6-v2}

Weights are read from safetensors only and no code of the model's is run. A model of the hub is
fetched once, into the hub's own cache; its commit is part of what a vector is filed under, and of a
folder the hash of its files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from synthkd.errors import SourceError, UserError
from synthkd.io.paths import expanded
from synthkd.rows import Json, canonical
from synthkd.steps import StepSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

INSTALL = "pip install 'synthkd[embed]'"
LOADS = "sentence_transformers."
"""Modules of an encoder's own `modules.json` must be this library's."""


class _EncoderSettings(StepSettings):
    model: str
    """A folder, or a name on the hub; variables as in `source`: ${HOME}/models/m."""
    revision: str | None = None
    """Of a model on the hub: branch, tag or commit."""


class Model2VecSettings(_EncoderSettings):
    """Static vectors of tokens, averaged (model2vec): quick on a CPU."""

    kind: Literal["model2vec"]
    max_tokens: PositiveInt | None = Field(default=512, le=1_000_000)
    """What lies beyond is not seen; null = everything is."""


class SentenceTransformersSettings(_EncoderSettings):
    """A sentence encoder (sentence-transformers, which needs torch)."""

    kind: Literal["sentence_transformers"]
    batch: PositiveInt = Field(default=64, le=100_000)
    """Texts that the encoder sees at once: a matter of memory."""
    device: str | None = None
    """cpu, cuda, cuda:1; null = a GPU if there is one."""


class Model2Vec:
    """See `Model2VecSettings`."""

    fitted = False

    def __init__(self, settings: Model2VecSettings) -> None:
        """Load it.

        Raises:
            UserError: the library or the model is missing, or the model is damaged.
        """
        try:
            import model2vec
        except ImportError as error:
            raise UserError(f"embed.kind model2vec needs a library: {INSTALL}") from error
        folder, version = model_folder(settings.model, settings.revision)
        self._settings = settings
        self._model = _loaded(
            folder,
            lambda: model2vec.StaticModel.from_pretrained(
                folder, normalize=True, max_length=settings.max_tokens
            ),
        )
        self.identity = _identity("model2vec", version, {"max_tokens": settings.max_tokens})

    def compute(self, texts: Sequence[str]) -> Floats:
        """(n, dimensions)."""
        vectors: Floats = self._model.encode(list(texts), use_multiprocessing=False)
        return vectors


class SentenceTransformers:
    """See `SentenceTransformersSettings`."""

    fitted = False

    def __init__(self, settings: SentenceTransformersSettings) -> None:
        """Load it.

        Raises:
            UserError: the library or the model is missing, or the model brings code of its own.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise UserError(
                f"embed.kind sentence_transformers needs a library: {INSTALL}"
            ) from error
        folder, version = model_folder(settings.model, settings.revision)
        check_modules(folder)
        self._settings = settings
        self._model = _loaded(
            folder,
            lambda: SentenceTransformer(
                str(folder),
                device=settings.device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            ),
        )
        self.identity = _identity("sentence-transformers", version, {})

    def compute(self, texts: Sequence[str]) -> Floats:
        """(n, dimensions)."""
        vectors: Floats = self._model.encode(
            list(texts),
            batch_size=self._settings.batch,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return vectors


def model_folder(model: str, revision: str | None) -> tuple[Path, str]:
    """Where the model lies, and what tells this version of it from every other.

    Raises:
        UserError: there is no such folder, and the hub has none of that name or is out of reach.
    """
    try:
        folder = Path(expanded(model))
    except SourceError as error:
        raise UserError(f"embed.model: {error}") from error
    if folder.is_dir():
        return folder, _hash_of(folder)
    if model.count("/") != 1 or model.startswith((".", "/", "~")) or "$" in model:
        raise UserError(f"embed.model: {folder}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        found = Path(snapshot_download(model, revision=revision, ignore_patterns=["*.bin", "*.pt"]))
    except Exception as error:  # the hub's, the network's, the disk's: many classes, one meaning
        raise UserError(
            f"embed.model: {model} is no folder here, and the hub does not give it "
            f"({type(error).__name__}: {error!s:.200}): name a folder, or mend name or connection"
        ) from error
    return found, f"{model}@{found.name}"


def check_modules(folder: Path) -> None:
    """Refuse an encoder that would load a class from outside the library.

    Raises:
        UserError: it would, or its list of modules cannot be read.
    """
    listed = folder / "modules.json"
    if not listed.is_file():
        return  # a plain transformer, which the library pools by its mean
    try:
        types = [str(module["type"]) for module in json.loads(listed.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{listed}: is no list of modules: {error!r:.200}") from error
    for foreign in (one for one in types if not one.startswith(LOADS)):
        raise UserError(
            f"{listed}: names {foreign!r:.80}, which is not part of sentence-transformers: code"
            " that comes with a model is not run"
        )


def _loaded(folder: Path, load: Any) -> Any:
    try:
        return load()
    except Exception as error:  # each library and version has errors of its own for a bad folder
        raise UserError(
            f"embed.model: {folder}: cannot be loaded: {type(error).__name__}: {error!s:.300}"
        ) from error


def _hash_of(folder: Path) -> str:
    """Of all files, by name and content."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def _identity(library: str, version: str, settings: Mapping[str, Any]) -> str:
    from importlib.metadata import version as installed

    what: list[Json] = [library, installed(library), version, dict(settings)]
    return hashlib.sha256(canonical(what)).hexdigest()
