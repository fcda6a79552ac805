"""What a window's tokens add up to, also for trunks that number positions by which tokens are padding."""

from pathlib import Path

import pytest
import torch
from transformers import RobertaConfig, RobertaModel

from models.attribution import attribute
from models.batching import Batch, collate
from models.encoder import Encoder
from models.heads import HeadOptions
from models.network import Network, Trunk
from models.windows import cut


@pytest.fixture
def network(tiny_encoder: Encoder) -> Network:
    """A random trunk like RoBERTa whose positions matter as much as its words."""
    config = RobertaConfig(
        vocab_size=tiny_encoder.tokenizer.get_vocab_size(), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=40, pad_token_id=0, type_vocab_size=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Network(
            Trunk(RobertaModel(config, add_pooling_layer=False), word_shapes=False),
            ("sentiment",),
            HeadOptions(dropout=0.0),
        )
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim == 2 and name.startswith(("heads.", "trunk.encoder.embeddings.")):
                parameter.mul_(20)
    return made.eval()


def test_the_baseline_of_a_trunk_like_roberta_keeps_its_positions(
    network: Network, tiny_encoder: Encoder, tiny_trunk: Path
) -> None:
    (text,) = tiny_encoder.encode(["the bank said profit rises sharply on monday"])
    (window,) = cut(text, tiny_encoder, max_length=32, overlap=8, reading="whole")

    def target(batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = network("sentiment", batch)
        return logits[:, 0]

    found, error = attribute(network, window, target, pad_id=0)
    assert error < 1e-2
    batch = collate([window], pad_id=0)
    blank = batch.ids.clone()
    blank[:, 1:-1] = 0
    head, positions = network.head("sentiment"), torch.arange(1, 1 + blank.shape[1])[None]
    with torch.no_grad():
        trunk = network.trunk.encoder
        whole, nothing = (
            head(trunk(input_ids=ids, attention_mask=batch.mask, position_ids=positions).last_hidden_state, batch)[0, 0]
            for ids in (batch.ids, blank)
        )
        torch.testing.assert_close(target(batch)[0], whole)
    assert found.sum() == pytest.approx(float(whole - nothing), abs=1e-2)
    assert abs(float(whole - nothing)) > 0.05
