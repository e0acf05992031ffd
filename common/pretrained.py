"""Checkpoints of the HuBERT family, from a folder or the hub, in transformers' own classes: no foreign code runs."""

import pickle
from typing import Any

import torch

# Whose weights are stored under other names than a HuBERT's. MERT says mert_model and is a HuBERT.
WAV2VEC = "wav2vec2"


class EncoderError(ValueError):
    """An encoder that cannot be had as it was asked for."""


def read_settings(path: str) -> dict[str, Any]:
    """What a checkpoint says of itself: "config" of the network and, where it does, "sample_rate" and "normalise"."""
    # transformers takes seconds to import: only whoever asks for such an encoder waits.
    from transformers import HubertConfig, Wav2Vec2FeatureExtractor

    try:
        stored, _ = HubertConfig.get_config_dict(path)
        reason = "no config.json"
    except (OSError, ValueError) as error:
        stored, reason = {}, first_line(error)
    if not stored:
        raise EncoderError(
            f"{path}: no checkpoint there ({reason}); give a folder with config.json and weights, or a hub id and a "
            "connection"
        )
    # auto_map names code to run, architectures another class.
    config = {key: value for key, value in stored.items() if key not in ("auto_map", "architectures") and key[0] != "_"}
    settings: dict[str, Any] = {"config": config}
    try:
        preprocessor, _ = Wav2Vec2FeatureExtractor.get_feature_extractor_dict(path)
    except OSError:
        preprocessor = {}
    rate = preprocessor.get("sampling_rate", stored.get("sample_rate"))
    return settings | ({"sample_rate": rate} if rate else {}) | {"normalise": preprocessor.get("do_normalize", False)}


def build(path: str | None, config: dict, spec_augment: float, layerdrop: float, attention: str) -> Any:
    """The network of a checkpoint, or one of random weights if there is no path.

    Raises:
        EncoderError: a weight of the network is not in the checkpoint, or has another shape.
    """
    from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

    wav2vec = config.get("model_type") == WAV2VEC
    network_class: Any = Wav2Vec2Model if wav2vec else HubertModel
    config_class: Any = Wav2Vec2Config if wav2vec else HubertConfig
    options = {key: value for key, value in config.items() if key != "model_type"}
    options |= {"layerdrop": layerdrop, "apply_spec_augment": spec_augment > 0}
    if spec_augment:
        options["mask_time_prob"] = spec_augment
    settings = config_class(**options, attn_implementation=attention)
    if path is None:
        return network_class(settings)
    try:
        network, found = network_class.from_pretrained(
            path, config=settings, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise EncoderError(f"{path}: the weights cannot be read ({first_line(error)}); download them again") from error
    if missing := sorted(found["missing_keys"]):
        raise EncoderError(
            f"{path}: {len(missing)} weights of a {network_class.__name__} are missing, {missing[0]} the first; "
            "download the checkpoint again, or choose one of the HuBERT family"
        )
    return network


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
