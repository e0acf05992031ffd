"""What the timbre branch is trained with: cells of one instrument together, cells of different ones apart.

A cell is a pitch at a frame, or a note; its embedding has unit length. Both losses are means, so that neither the
length of a clip nor its density sets the learning rate, and both are taken within one clip: instruments of different
clips are not compared.
"""

import math

import torch


def info_nce(
    embeddings: torch.Tensor, labels: torch.Tensor, temperature: float = 0.15, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """How badly the cells of an instrument recognise one another among all cells (the paper's InfoNCE).

    With s_ij = v_i . v_j / temperature and j running over the cells other than i, the loss of cell i is
    log sum_j exp s_ij - log sum_{j of i's instrument} exp s_ij. It is 0 where there is one instrument only. A cell that
    is alone of its instrument has nothing to find and is left out (the paper's code gives it 18.4).

    Args:
        embeddings: (cell, dim), of unit length.
        labels: (cell,) integers; which numbers the instruments have does not matter.
        temperature: the smaller, the more the nearest cells count.
        weights: (cell,) of the cells in the mean, none for equal ones.

    Returns:
        Scalar, 0 where no cell has a partner.
    """
    same = labels[:, None] == labels[None]
    same.fill_diagonal_(False)
    found = same.any(dim=1)
    if not found.any():
        return embeddings.sum() * 0.0
    with torch.autocast(embeddings.device.type, enabled=False):  # eight bits would blur who is nearest
        logits = embeddings.float() @ embeddings.float().T / temperature
    logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -math.inf)[found]
    loss = logits.logsumexp(dim=1) - logits.masked_fill(~same[found], -math.inf).logsumexp(dim=1)
    if weights is None:
        return loss.mean()
    return (loss * weights[found]).sum() / weights[found].sum().clamp(min=torch.finfo(loss.dtype).tiny)


def affinity_mse(embeddings: torch.Tensor, memberships: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of the affinities V V' and Y Y' (deep clustering: Hershey et al., ICASSP 2016).

    Equal to |V'V|^2 + |Y'Y|^2 - 2 |V'Y|^2 over the number of pairs, whose cost is linear in the cells. Cells of
    different instruments are to be orthogonal, which is all that is asked of them.

    Args:
        embeddings: V, (cell, dim), of unit length.
        memberships: Y, (cell, instrument), 1 where a cell belongs to an instrument.

    Returns:
        Scalar, 0 where there are no cells.
    """
    n_cells = max(len(embeddings), 1)
    v, y = embeddings.float(), memberships.float()
    with torch.autocast(v.device.type, enabled=False):  # the difference of large sums
        parts = [(a.T @ b / n_cells).square().sum() for a, b in ((v, v), (y, y), (v, y))]
    return parts[0] + parts[1] - 2.0 * parts[2]


def sample_balanced(labels: torch.Tensor, size: int, rng: torch.Generator | None = None) -> torch.Tensor:
    """Random cells, as many of each instrument as there are, up to equal shares.

    Args:
        labels: (cell,) integers.
        size: cells at most; what a rare instrument lacks of its share goes to the others.
        rng: on the CPU; none for torch's own.

    Returns:
        Indices of min(cell, size) different cells.
    """
    shuffled = torch.randperm(len(labels), generator=rng).to(labels.device)
    # Drawing in turn, one of each instrument a round: a cell's round is its place among those of its instrument.
    _, place, counts = labels[shuffled].unique(return_inverse=True, return_counts=True)
    by_instrument = place.argsort(stable=True)
    starts = (counts.cumsum(dim=0) - counts).repeat_interleave(counts)
    rounds = torch.empty_like(by_instrument)
    rounds[by_instrument] = torch.arange(len(labels), device=labels.device) - starts
    return shuffled[rounds.argsort(stable=True)[:size]]
