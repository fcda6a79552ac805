"""AdaLoRA: LoRA in the form of singular values, with the ranks given during training to the layers that need them.

Zhang et al. 2023, "Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning". Every linear layer starts with half as much rank
again as `tuning_rank`; singular values whose smoothed sensitivity is low are set to nothing, until `tuning_rank` a layer is left on
average. A tenth of the steps pass before, and the last three tenths after, the budget is cut. The penalty that keeps the singular vectors
orthogonal is added as a gradient of its own before each step.

What the allocator remembers between steps lies in buffers of the network, so that a checkpoint holds it and a resumed training allocates
as one never interrupted. Left out: removing the rows that were set to nothing, which merging makes pointless.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe
from models.tuning import Method, wrap

_WARM_SHARE, _FINAL_SHARE = 0.1, 0.3  # of all steps: before the budget is cut, and after
_ALLOCATIONS = 50  # about so many cuts of the budget a training
_ORTHOGONALITY = 0.1  # weight of the penalty, the paper's gamma
_UNSET = 10**9  # steps, until the first step says how many there are
_ADAPTER = "default"


class Memory(nn.Module):
    """What the allocator knows of every adapter tensor: its smoothed sensitivity, the uncertainty of that, and which ranks it has kept."""

    def __init__(self, adapters: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.names = {name: name.replace(".", "/") for name in adapters}
        for name, tensor in adapters.items():
            self.register_buffer(f"sensitivity/{self.names[name]}", torch.zeros_like(tensor))
            self.register_buffer(f"uncertainty/{self.names[name]}", torch.zeros_like(tensor))
            if "lora_E" in name:
                self.register_buffer(f"kept/{self.names[name]}", torch.ones_like(tensor))

    def recall(self, tuner: Any) -> None:
        """Give the allocator what is remembered."""
        allocator = tuner.rankallocator
        for name, plain in self.names.items():
            allocator.ipt[name] = torch.zeros_like(self.get_buffer(f"sensitivity/{plain}"))
            allocator.exp_avg_ipt[name] = self.get_buffer(f"sensitivity/{plain}").clone()
            allocator.exp_avg_unc[name] = self.get_buffer(f"uncertainty/{plain}").clone()
        tuner.peft_config[_ADAPTER].rank_pattern = {
            name: self.get_buffer(f"kept/{plain}").view(-1).bool().tolist()
            for name, plain in self.names.items()
            if "lora_E" in name
        }

    def keep(self, tuner: Any) -> None:
        """Remember what the allocator has."""
        allocator = tuner.rankallocator
        pattern = tuner.peft_config[_ADAPTER].rank_pattern or {}
        for name, plain in self.names.items():
            for part, values in (("sensitivity", allocator.exp_avg_ipt), ("uncertainty", allocator.exp_avg_unc)):
                if name in values:
                    self.get_buffer(f"{part}/{plain}").copy_(values[name])
            if name in pattern:
                kept = self.get_buffer(f"kept/{plain}")
                kept.copy_(torch.as_tensor(pattern[name], dtype=kept.dtype, device=kept.device).view_as(kept))


class Adalora(Method):
    """Low-rank matrices whose ranks follow their use."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Add the matrices; the singular values are zero at first, so the network answers as before."""
        from peft import AdaLoraConfig

        wrap(
            network,
            lambda: AdaLoraConfig(
                task_type="FEATURE_EXTRACTION",
                target_r=recipe.tuning_rank,
                init_r=recipe.tuning_rank + (recipe.tuning_rank + 1) // 2,
                lora_alpha=2 * recipe.tuning_rank,
                lora_dropout=recipe.dropout,
                target_modules="all-linear",
                total_step=_UNSET,
            ),
        )
        network.tuning_memory = Memory(_adapters(network))
        return encoder

    def before_step(self, network: Network, recipe: Recipe) -> None:
        """Add the gradient of the penalty: the mean distance of the singular vectors from orthogonal ones."""
        vectors = [tensor for name, tensor in _adapters(network).items() if "lora_E" not in name]
        apart: list[torch.Tensor] = []
        for tensor in vectors:
            short = tensor if tensor.shape[0] < tensor.shape[1] else tensor.T
            apart.append(torch.linalg.matrix_norm(short @ short.T - torch.eye(len(short), device=short.device)))
        penalty = _ORTHOGONALITY * torch.stack(apart).mean()
        for tensor, gradient in zip(vectors, torch.autograd.grad(penalty, vectors), strict=True):
            tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

    def after_step(self, network: Network, recipe: Recipe, *, step: int, total: int) -> None:
        """Weigh every singular value by what it does for the loss, and keep as many as the budget of this step allows."""
        tuner: Any = network.trunk.encoder.base_model
        memory = network.tuning_memory
        assert isinstance(memory, Memory)
        config = tuner.peft_config[_ADAPTER]
        config.total_step, config.tinit, config.tfinal = total, int(_WARM_SHARE * total), int(_FINAL_SHARE * total)
        config.deltaT = max(1, total // _ALLOCATIONS)
        memory.recall(tuner)
        tuner.update_and_allocate(step)
        memory.keep(tuner)


def _adapters(network: Network) -> dict[str, torch.Tensor]:
    """The tensors of the adapters, by the names that the allocator has for them."""
    tuner: Any = network.trunk.encoder.base_model
    return {name: tensor for name, tensor in tuner.model.named_parameters() if "lora_" in name and _ADAPTER in name}


METHOD = Adalora()
