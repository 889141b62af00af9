"""Models as files: known by their content, and refused with one message that says what is wrong."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from compression_gap import commands, folders
from compression_gap.config import from_json, to_json
from compression_gap.encoders import hub
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.pipeline.cell import Sight
from compression_gap.store import Store
from pictures import LEGEND, frames

WEIGHTS = "model.safetensors"


def change(folder: Path, name: str, to: torch.Tensor | None) -> None:
    """Replaces a weight in a folder's file, or takes it out."""
    weights = load_file(folder / WEIGHTS)
    weights[name] = to if to is not None else weights.pop(name)
    save_file(
        {key: tensor for key, tensor in weights.items() if to is not None or key != name},
        folder / WEIGHTS,
        {"format": "pt"},
    )


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_equal_content_is_the_same_encoder_wherever_it_lies(tmp_path: Path):
    one = Pretrained(tiny_models.siglip(tmp_path / "one"))
    digest, features = one.digest, one.build(LEGEND).encode(frames())
    shutil.copytree(tmp_path / "one", tmp_path / "somewhere" / "two")
    two = Pretrained(str(tmp_path / "somewhere" / "two"))
    assert two.digest == digest
    assert Sight("a", two).digest == Sight("a", one).digest
    assert torch.equal(two.build(LEGEND).encode(frames()), features)
    (tmp_path / "one").rename(tmp_path / "moved")
    assert Pretrained(str(tmp_path / "moved")).digest == digest
    (tmp_path / "moved" / "README.md").write_text("about this model")
    assert Pretrained(str(tmp_path / "moved")).digest == digest


@pytest.mark.parametrize("file", hub.FILES)
def test_other_content_is_another_encoder(file: str, tmp_path: Path):
    folder = tiny_models.siglip(tmp_path)
    digest = Pretrained(folder).digest
    if file == WEIGHTS:
        change(tmp_path, "vision_model.post_layernorm.bias", torch.ones(32))
    else:
        edit(tmp_path / file, changed=True)
    assert Pretrained(folder).digest != digest


def test_weights_in_several_files_are_all_content(tmp_path: Path):
    folder = tiny_models.siglip(tmp_path)
    features = Pretrained(folder).build(LEGEND).encode(frames())
    weights = load_file(tmp_path / WEIGHTS)
    (tmp_path / WEIGHTS).unlink()
    place = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(sorted(weights))}
    for file in set(place.values()):
        save_file({name: weights[name] for name in place if place[name] == file}, tmp_path / file, {"format": "pt"})
    (tmp_path / hub.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": place}))
    digest = Pretrained(folder).digest
    assert torch.equal(Pretrained(folder).build(LEGEND).encode(frames()), features)
    save_file({**load_file(tmp_path / "model-1.safetensors"), "more": torch.ones(1)}, tmp_path / "model-1.safetensors")
    assert Pretrained(folder).digest != digest
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks model-1\.safetensors"):
        Pretrained(folder).build(LEGEND)


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, read = tiny_models.siglip(tmp_path), []
    real = folders.hashlib.file_digest
    monkeypatch.setattr(folders.hashlib, "file_digest", lambda file, kind: read.append(file.name) or real(file, kind))
    assert len({Pretrained(folder).digest for _ in range(3)}) == 1
    assert len(read) == len(hub.FILES)
    edit(tmp_path / "config.json", changed=True)
    assert Pretrained(folder).digest
    assert len(read) == len(hub.FILES) + 1


def test_the_name_of_a_hub_model_is_its_identity():
    assert Pretrained().digest == "806e8fa0375685a78206"  # as it was before folders were known by content
    assert hub.identity("facebook/dinov2-large") == "facebook/dinov2-large"


def test_a_folder_that_is_gone_stops_only_what_needs_its_content(tmp_path: Path):
    spec = Pretrained(tiny_models.siglip(tmp_path / "model"))
    written = json.dumps(to_json(spec))
    shutil.rmtree(tmp_path / "model")
    again = from_json(json.loads(written))
    assert again == spec
    assert to_json(again) == json.loads(written)
    assert commands.status(Store(tmp_path / "store").root).data["damaged"] == []
    for needy in (lambda: again.digest, lambda: again.build(LEGEND)):
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*model; put it back, or give the place"):
            needy()


@pytest.mark.parametrize("file", hub.FILES)
def test_a_folder_that_lacks_a_file(file: str, tmp_path: Path):
    folder = tiny_models.siglip(tmp_path)
    (tmp_path / file).unlink()
    for needy in (lambda: Pretrained(folder).digest, lambda: Pretrained(folder).build(LEGEND)):
        with pytest.raises(FileNotFoundError, match=f"the folder .* lacks {file}; a model is config.json, preproc"):
            needy()


def test_weights_of_another_architecture(tmp_path: Path):
    shutil.copy(Path(tiny_models.resnet(tmp_path / "resnet")) / WEIGHTS, tiny_models.vit(tmp_path / "vit"))
    with pytest.raises(ValueError, match=r"\(ViTModel\) needs weights that its files do not hold: \d+ of \d+, as "):
        Pretrained(str(tmp_path / "vit")).build(LEGEND)


def test_a_single_weight_that_is_missing(tmp_path: Path):
    folder = tiny_models.resnet(tmp_path)
    change(tmp_path, "encoder.stages.1.layers.0.shortcut.normalization.running_var", None)
    with pytest.raises(ValueError, match=r"\(ResNetModel\) needs weights .* 1 of \d+, as encoder.*running_var"):
        Pretrained(folder).build(LEGEND)
    assert Pretrained(folder, layer=1).build(LEGEND).width == 8  # which does not depend on it


def test_weights_of_another_size(tmp_path: Path):
    folder = tiny_models.siglip(tmp_path)
    change(tmp_path, "vision_model.post_layernorm.bias", torch.ones(16))
    with pytest.raises(
        ValueError, match=r"SiglipVisionModel in its config.json: .*bias is \[16\] and should be \[32\]"
    ):
        Pretrained(folder).build(LEGEND)


def test_a_damaged_file(tmp_path: Path):
    folder = tiny_models.siglip(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no vision model that can be loaded"):
        Pretrained(folder).build(LEGEND)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("naflex", {}, r"\(Siglip2VisionModel\) does not look at pictures of one size .* NaFlex .*siglip2-so400m"),
        ("masked", {}, r"\(ViTMAEModel\) draws random numbers whenever it looks"),
        ("yolos", {"pooling": "patches"}, r"gives 105 vectors for a picture of 28 x 28 pixels and does not tell which"),
        ("bert", {}, r"\(BertModel\) cannot look at a picture of 28 x 28 pixels: "),
        ("siglip", {"layer": 3}, r"layer: .* has the layers 0, its embeddings, to 2, got 3; None is the last"),
        ("resnet", {"layer": 3}, r"layer: .* has the layers 0, its embeddings, to 2, got 3"),
        ("siglip", {"pooling": "class"}, "has no class token; choose pooling 'mean' or 'patches'"),
        ("resnet", {"pooling": "class"}, "has no class token"),
        ("siglip", {"crop": 40}, r"Pretrained.crop: 40 pixels do not fit into pictures of 32"),
    ],
)
def test_what_a_model_cannot_do(name: str, settings: dict, message: str, tmp_path: Path):
    folder = getattr(tiny_models, name)(tmp_path)
    with pytest.raises(ValueError, match=message):
        Pretrained(folder, **settings).build(LEGEND)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": -1}, "counted from 0"),
        ({"image_size": 0}, "at least 1 pixel"),
        ({"crops": 0}, "at least the central crop"),
        (
            {"crops": 2},
            "2 crops are stored of a frozen encoder that has a crop; this one is frozen and its crop is None",
        ),
        ({"crops": 2, "crop": 20, "training": "trained"}, "this one is trained and its crop is 20"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Pretrained(**settings)


def test_pictures_that_it_was_not_built_for(tmp_path: Path):
    encoder = Pretrained(tiny_models.siglip(tmp_path)).build(LEGEND)
    with pytest.raises(ValueError, match=r"built for pictures \[N, 32, 32, 3\], got \[3, 31, 32, 3\]: use the suite"):
        encoder.encode({name: pictures[:, 1:] for name, pictures in frames().items()})
    with pytest.raises(ValueError, match=r"got \[3, 3, 32, 32\]: the channels stand last"):
        encoder.encode({name: pictures.permute(0, 3, 1, 2) for name, pictures in frames().items()})


@pytest.mark.parametrize("name", ["google/siglip-so400m-patch14-224", "nobody/has-such-a-model"])
def test_without_weights_the_message_says_what_to_fetch_and_where_to_put_it(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError) as caught:
        Pretrained(name).build(LEGEND)
    for part in (
        f"hf download {name} config.json preprocessor_config.json model.safetensors",
        "cache",
        "Pretrained.model",
    ):
        assert part in str(caught.value)


def test_without_transformers_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'compression-gap\[vision\]'"):
        Pretrained().build(LEGEND)
