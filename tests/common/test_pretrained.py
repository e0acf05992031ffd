import json
from pathlib import Path

import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2ForCTC

from common.encoders import SSLEncoder
from common.pretrained import EncoderError

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
OLD_NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def old_name(name: str) -> str:
    for new, old in OLD_NAMES.items():
        name = name.replace(new, old)
    return name


@pytest.fixture
def source() -> HubertModel:
    torch.manual_seed(0)
    return HubertModel(HubertConfig(**TINY)).eval()


@pytest.fixture
def folder(tmp_path, source) -> Path:
    """As MERT's on the hub: pickled tensors under their old names, a model type of its own, and code to run."""
    torch.save({old_name(key): value for key, value in source.state_dict().items()}, tmp_path / "pytorch_model.bin")
    code = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nMERTConfig = MERTModel = None\n"
    (tmp_path / "configuration_MERT.py").write_text(code)
    auto_map = {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "configuration_MERT.MERTModel"}
    config = {**TINY, "model_type": "mert_model", "architectures": ["MERTModel"], "auto_map": auto_map}
    (tmp_path / "config.json").write_text(json.dumps({**config, "layerdrop": 0.05, "feature_extractor_cqt": False}))
    preprocessor = {
        "sampling_rate": 24_000,
        "do_normalize": False,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return tmp_path


@pytest.fixture
def audio() -> torch.Tensor:
    return 0.1 * torch.randn(2, 3520, generator=torch.Generator().manual_seed(0))


def test_mert_loads_to_the_bit_and_runs_no_code(folder, source, audio):
    encoder = SSLEncoder(str(folder)).eval()
    assert encoder.sample_rate == 24_000
    assert encoder.network.config.layerdrop == 0.0
    assert torch.equal(encoder(audio), source(audio).last_hidden_state[:, :10])
    assert not (folder / "ran").exists()


def test_a_missing_weight_is_one_clear_error(folder):
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights.pop("encoder.layers.1.attention.k_proj.weight")
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"1 weights .* encoder\.layers\.1\.attention\.k_proj\.weight"):
        SSLEncoder(str(folder))


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(EncoderError):
        SSLEncoder(str(folder))


def test_a_pickle_with_code_is_refused(folder):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (folder / "ran",))

    torch.save({"masked_spec_embed": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError):
        SSLEncoder(str(folder))
    assert not (folder / "ran").exists()


def test_no_checkpoint_there(tmp_path):
    with pytest.raises(EncoderError, match="give a folder"):
        SSLEncoder(str(tmp_path))


def test_rate_and_scaling_are_the_checkpoints_unless_said_otherwise(folder):
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000, "do_normalize": True}))
    encoder = SSLEncoder(str(folder))
    assert encoder.sample_rate == 16_000
    assert encoder.settings["normalise"]
    other = SSLEncoder(str(folder), sample_rate=24_000, normalise=False)
    assert other.sample_rate == 24_000
    assert not other.settings["normalise"]
    (folder / "preprocessor_config.json").unlink()
    assert SSLEncoder(str(folder)).sample_rate == 24_000
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sample_rate": 48_000}))
    assert SSLEncoder(str(folder)).sample_rate == 48_000


def test_settings_of_a_folder_are_plain_and_rebuild_it_elsewhere(folder, audio):
    encoder = SSLEncoder(str(folder)).eval()
    again = SSLEncoder(**json.loads(json.dumps(encoder.settings))).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(audio), encoder(audio))


def test_wav2vec_loads_from_a_recogniser(tmp_path, audio):
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(Wav2Vec2Config(**TINY)).eval()
    network.save_pretrained(tmp_path)
    encoder = SSLEncoder(str(tmp_path)).eval()
    assert torch.equal(encoder(audio), network.wav2vec2(audio).last_hidden_state[:, :10])
