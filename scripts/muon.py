"""Muon, an optimiser under which the small autoencoders need fewer steps than under AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic; brings singular values near 1
NS_STEPS, MOMENTUM = 5, 0.95
ENDS = ("conv_in.weight", "conv_out.weight")  # first and last layer stay with AdamW


def orthogonalised(matrix: Tensor) -> Tensor:
    r"""Return nearly :math:`U V^T` of a matrix :math:`U S V^T` ``(m, n)``, by five iterations.

    With :math:`X_0 = M / \|M\|_F` and :math:`A = X X^T`, an iteration is
    :math:`X \leftarrow a X + (b A + c A^2) X`. It keeps the matrix's precision; `torch.optim.Muon`
    goes through bfloat16, which is many times slower on a CPU that has no such instructions.

    References
    ----------
    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".

    Examples
    --------
    >>> values = torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([1.0, 2.0, 3.0]))))
    >>> bool((values > 0.6).all() and (values < 1.3).all())
    True
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(NS_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.AdamW):
    """AdamW for norms, biases, first and last layer; Muon for all weights between them.

    A weight, flattened to ``(out, in * h * w)``, moves along its orthogonalised Nesterov momentum,
    times sqrt(max(1, rows / columns)): the "original" rule of `torch.optim.Muon`, which takes
    matrices only. Weights that Muon moves do not decay.
    """

    def __init__(self, network: nn.Module, muon_rate: float, adamw_rate: float, decay: float):
        inner: list[nn.Parameter] = []
        other: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            by_muon = parameter.ndim > 1 and not name.endswith(ENDS)
            (inner if by_muon else other).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": inner, "lr": muon_rate},
            {"params": other, "lr": adamw_rate},
        ]
        super().__init__(groups, weight_decay=decay)

    @property
    def rates(self) -> list[float]:
        """The learning rate of each group, as a schedule wants them."""
        return [float(group["lr"]) for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Move every parameter; gradients of Muon's weights are used up."""
        inner = self.param_groups[0]
        for weight in inner["params"]:
            if weight.grad is None:
                continue
            if not (state := self.state[weight]):  # AdamW looks for a step in what it loads
                state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(weight)}
            momentum = state["momentum"]
            momentum.lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(momentum, MOMENTUM).flatten(1)  # (out, in * h * w)
            scale = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
            weight.add_(orthogonalised(ahead).view_as(weight), alpha=-inner["lr"] * scale)
            weight.grad = None  # AdamW passes over it
        super().step()
