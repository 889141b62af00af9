"""Models of the `transformers` library on their hub, in its offline cache or in a folder: what identifies one, and how
it is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression_gap.folders import content_of, existing, is_folder

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
INDEX = "model.safetensors.index.json"
"""Of weights that are cut into several files."""


@dataclass(frozen=True)
class Loaded:
    """A model as it was loaded."""

    processor: Any
    """Prepares pictures as the model's own configuration says."""
    model: Any
    """In float32; of a model with several towers, the one for pictures."""
    missing: frozenset[str]
    """Names of weights that the files do not hold, for which random ones stand in the model."""


def identity(model: str) -> str:
    """What stands for a model in a digest: a hub name as it is; for a folder, a hash of the files that are loaded from
    it, so that its place does not matter and its content does.

    Raises FileNotFoundError if it is a path and the folder or a file is not there.
    """
    return content_of(Path(model), _files(model)) if is_folder(model) else model


def load(model: str) -> Loaded:
    """The model, wherever it is.

    Raises ImportError naming the extra if `transformers` is missing, FileNotFoundError saying which files to fetch if
    the model is, and ValueError if its files do not fit together.
    """
    try:
        import transformers
        from huggingface_hub.constants import HF_HUB_CACHE
        from safetensors import SafetensorError
    except ModuleNotFoundError as error:
        raise ImportError(
            f"encoders/pretrained needs {error.name!r}, which is not installed: pip install 'compression-gap[vision]'"
        ) from error
    transformers.logging.set_verbosity_error()  # it would list every weight of the text tower that is left out
    transformers.logging.disable_progress_bar()
    folder = is_folder(model)
    if folder:
        _files(model)
    try:
        config = transformers.AutoConfig.from_pretrained(model)
        vision = getattr(config, "vision_config", config)
        # not the torchvision version, whose interpolation differs in the third digit
        processor = transformers.AutoImageProcessor.from_pretrained(model, use_fast=False)
        loaded, report = transformers.AutoModel.from_pretrained(
            model, config=vision, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except OSError as error:
        if folder:
            raise FileNotFoundError(f"encoder 'pretrained': {model} cannot be loaded: {error}") from error
        raise FileNotFoundError(
            f"encoder 'pretrained': {model!r} is no folder, is not in the hub's cache {HF_HUB_CACHE}, and cannot be "
            f"fetched. Where there is a network, type `hf download {model} {' '.join(FILES)}` and copy the folder "
            f"models--{model.replace('/', '--')} from its cache into this one; or put these files into a folder and "
            f"give that as Pretrained.model. ({str(error).splitlines()[0]})"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"encoder 'pretrained': {model} is no vision model that can be loaded: {error}") from error
    if report["mismatched_keys"]:
        name, found, expected = sorted(report["mismatched_keys"])[0]
        raise ValueError(
            f"encoder 'pretrained': the weights of {model} are not those of the {type(loaded).__name__} in its "
            f"config.json: {name} is {list(found)} and should be {list(expected)}; fetch all files of one model again"
        )
    return Loaded(processor, loaded.float(), frozenset(report["missing_keys"]))


def _files(model: str) -> list[Path]:
    """The files of a folder that make the model what it is.

    Raises FileNotFoundError naming those that are missing.
    """
    folder = existing(model, "Pretrained.model", "model")
    names = {*FILES}
    if (folder / INDEX).exists() and not (folder / FILES[-1]).exists():
        shards = json.loads((folder / INDEX).read_text())["weight_map"].values()
        names = {*FILES[:-1], INDEX, *shards}
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise FileNotFoundError(
            f"Pretrained.model: the folder {model} lacks {', '.join(missing)}; a model is {', '.join(FILES)} "
            f"(`hf download <model> {' '.join(FILES)} --local-dir {model}` fetches them)"
        )
    return [folder / name for name in names]
