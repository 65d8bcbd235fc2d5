"""Compute TRL 1.12.0's update again from the same weights and rollout, with neither TRL nor Heedful, and print the differences.

So a wrong recording would show before anything of ours is measured against it.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tiny import four_roles


def load(folder: Path) -> tuple[dict, dict, dict[str, torch.nn.Module]]:
    golden = json.loads((folder / "trl112_update.json").read_text())
    tensors = load_file(folder / "trl112_update.safetensors")
    roles = four_roles()
    for role, module in roles.items():
        for name, parameter in module.named_parameters():
            parameter.data.copy_(tensors[f"{role}.{name}"])
    return golden, tensors, roles


class Update:
    """The update, equation by equation."""

    def __init__(self, golden: dict, roles: dict[str, torch.nn.Module]) -> None:
        self.set, self.roles = golden["inputs"]["settings"], roles
        prompts, self.tokens = (torch.tensor(golden["inputs"][name]) for name in ("prompts", "tokens"))
        self.eos, pad = golden["inputs"]["eos"], golden["inputs"]["pad"]
        self.start, self.T = prompts.shape[1], self.tokens.shape[1]
        both = torch.cat([prompts, self.tokens], 1)
        real = both != pad
        self.feed = {
            "input_ids": both.masked_fill(~real, 0),
            "attention_mask": real,
            "position_ids": real.cumsum(1) - real.long(),
        }
        self.length = (self.tokens != pad).sum(1)
        self.row, column = torch.arange(len(self.tokens)), torch.arange(self.T)
        self.mask = column < self.length[:, None]
        self.value_mask = column <= self.length[:, None]

    def logprobs(self, role: str) -> torch.Tensor:
        logits = self.roles[role](**self.feed).logits[:, self.start - 1 : -1] / (self.set["temperature"] + 1e-7)
        return logits.log_softmax(-1).gather(2, self.tokens[..., None]).squeeze(-1) * self.mask

    def head(self, role: str) -> torch.Tensor:
        module = self.roles[role]
        return module.score(module.transformer(**self.feed).last_hidden_state).squeeze(-1)

    def values(self) -> torch.Tensor:
        return self.head("value")[:, self.start - 1 : -1] * self.value_mask

    def advantages(self, old: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        s = self.set
        scores = self.head("reward")[self.row, self.start + self.length - 1]
        scores = scores - s["missing_eos_penalty"] * (self.tokens != self.eos).all(1)
        rewards = -s["kl_coef"] * (old - self.logprobs("reference"))
        slot = torch.where(self.length < self.T, self.length, self.length - 1)  # one after the last token
        rewards[self.row, slot] += scores
        advantages, later = torch.zeros_like(values), 0.0
        for t in reversed(range(self.T)):
            next_value = values[:, t + 1] if t < self.T - 1 else 0.0
            later = rewards[:, t] + s["gamma"] * next_value - values[:, t] + s["gamma"] * s["lam"] * later
            advantages[:, t] = later
        return advantages

    def whiten(self, x: torch.Tensor) -> torch.Tensor:
        real = x[self.mask]
        return (x - real.mean()) / (real.var(unbiased=True) + 1e-8).sqrt() * self.mask

    def losses(self, rows, old, old_values, advantages, returns) -> tuple[torch.Tensor, torch.Tensor]:
        s, mask, value_mask = self.set, self.mask[rows], self.value_mask[rows]
        ratio = (self.logprobs("policy")[rows] - old[rows]).exp()
        near = ratio.clamp(1 - s["cliprange"], 1 + s["cliprange"])
        policy = torch.max(-advantages[rows] * ratio, -advantages[rows] * near)[mask].mean()
        values, before = self.values()[rows], old_values[rows]
        clipped = values.clamp(before - s["cliprange_value"], before + s["cliprange_value"])
        errors = torch.max((values - returns[rows]) ** 2, (clipped - returns[rows]) ** 2)
        return policy, 0.5 * errors[value_mask].mean()


def main(folder: Path) -> None:
    golden, tensors, roles = load(folder)
    update, expected = Update(golden, roles), golden["expected"]
    with torch.no_grad():
        old, old_values = update.logprobs("policy"), update.values()
        advantages = update.advantages(old, old_values)
    theirs = torch.tensor(expected["advantages"])
    print("advantages    ", (advantages - theirs).abs().max().item())
    policy_losses, value_losses = [], []
    rows_each = golden["inputs"]["microbatch_rows"]
    for rows in torch.tensor(golden["inputs"]["order"]).split(rows_each):
        policy, value = update.losses(rows, old, old_values, update.whiten(advantages), advantages + old_values)
        ((policy + golden["inputs"]["settings"]["vf_coef"] * value) / 2).backward()
        policy_losses.append(policy.item())
        value_losses.append(value.item())
    print("policy loss   ", sum(policy_losses) / 2 - expected["metrics"]["loss/policy_avg"])
    print("value loss    ", sum(value_losses) / 2 - expected["metrics"]["loss/value_avg"])
    for role in ("policy", "value"):
        worst = max(
            (p.grad - tensors[f"{role}_grad.{name}"]).abs().max().item()
            for name, p in roles[role].named_parameters()
            if p.grad is not None
        )
        print(f"{role} gradients", worst)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
