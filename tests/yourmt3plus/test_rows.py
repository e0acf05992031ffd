import torch

from yourmt3plus.rows import RowBatch, bucket
from yourmt3plus.tokenizer import EOS, PAD, TIE


def rows(lengths: list[list[int]], room: int = 256) -> torch.Tensor:
    """(batch, channel, token) of tokens that no two rows share, with an EOS at the end of each."""
    tokens = torch.full((len(lengths), len(lengths[0]), room), PAD)
    for batch, row in enumerate(lengths):
        for channel, length in enumerate(row):
            tokens[batch, channel, :length] = 10 + len(row) * batch + channel
            if length:
                tokens[batch, channel, length - 1] = EOS
    return tokens


def test_rows_are_cut_to_their_lengths_and_none_is_lost():
    tokens = rows([[2, 30, 2], [200, 2, 17], [2, 2, 3]])
    batches = bucket(tokens)
    assert [batch.tokens.shape[1] for batch in batches] == [2, 3, 30, 200]
    assert sorted(int(row) for batch in batches for row in batch.row) == list(range(9))
    for batch in batches:
        whole = tokens.flatten(0, 1)[batch.row]
        width = batch.tokens.shape[1]
        assert torch.equal(batch.tokens, whole[:, :width])
        assert not whole[:, width:].any()


def test_rows_that_are_not_kept_and_empty_ones_are_left_out():
    tokens = rows([[2, 30, 0], [5, 2, 40]])
    kept = torch.tensor([[True, False, True], [True, True, True]])
    assert sorted(int(row) for batch in bucket(tokens, kept) for row in batch.row) == [0, 3, 4, 5]
    assert bucket(tokens, torch.zeros(2, 3, dtype=torch.bool)) == []


def test_silent_channels_cost_next_to_nothing():
    """The mix that the study quotes: 91 % silent, the others 37 tokens in the mean; 13 channels padded to 256."""
    generator = torch.Generator().manual_seed(0)
    lengths = 2 + torch.empty(80, 13).exponential_(1 / 35, generator=generator).long().clamp(max=254)
    lengths[torch.rand(80, 13, generator=generator) < 0.91] = 2
    cells = sum(batch.tokens.numel() for batch in bucket(rows(lengths.tolist())))
    assert 14 * cells < 80 * 13 * 256


def test_a_row_of_two_tokens():
    tokens = torch.tensor([[[TIE, EOS, PAD]]])
    (batch,) = bucket(tokens)
    assert isinstance(batch, RowBatch)
    assert batch.tokens.tolist() == [[TIE, EOS]]
