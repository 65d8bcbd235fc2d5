"""TRL 1.16.0's group advantages and k3, and TRL 0.10.1's fixed score for a completion without EOS."""

from collections.abc import Callable

import torch
from torch.testing import assert_close

from heedful.numerics.advantages import group_relative, leave_one_out
from heedful.numerics.kl import k3
from heedful.numerics.masks import masked_mean
from heedful.numerics.rewards import missing_eos
from tests.tolerances import EXACT, ORACLE, ORACLE_GRADIENT


def test_group_advantages(golden: Callable) -> None:
    inputs, expected = golden("trl116_group_advantages.json")
    scores, group = inputs["scores"], inputs["group"]
    ours = {
        "leave_one_out": leave_one_out(scores, group),
        "group_relative_scaled": group_relative(scores, group, scale=True),
        "group_relative": group_relative(scores, group, scale=False),
    }
    for name, theirs in expected.items():
        assert_close(ours[name], theirs, atol=ORACLE, rtol=ORACLE, msg=name)


def test_group_advantages_in_another_order(golden: Callable) -> None:
    """TRL's groups are neighbours; ours may stand anywhere."""
    inputs, expected = golden("trl116_group_advantages.json")
    order = torch.randperm(len(inputs["scores"]), generator=torch.Generator().manual_seed(1))
    found = leave_one_out(inputs["scores"][order], inputs["group"][order])
    assert_close(found, expected["leave_one_out"][order], atol=ORACLE, rtol=ORACLE)


def test_k3_and_its_gradient(golden: Callable) -> None:
    inputs, expected = golden("trl116_k3.json")
    logprobs, mask = inputs["logprobs"].requires_grad_(), inputs["mask"]
    found = k3(logprobs, inputs["ref_logprobs"])
    assert_close(found[mask], expected["k3"][mask], atol=ORACLE, rtol=ORACLE)
    mean = masked_mean(found, mask)
    assert_close(mean.item(), expected["mean"], atol=ORACLE, rtol=ORACLE)
    mean.backward()
    assert_close(logprobs.grad, expected["logprobs_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)


def test_missing_eos_replaces_the_score(golden: Callable) -> None:
    inputs, expected = golden("trl0101_missing_eos.json")
    finished = (inputs["tokens"] == inputs["eos"]).any(1)
    assert torch.equal(finished, expected["finished"])
    found = missing_eos(inputs["scores"], finished, mode="replace", value=inputs["value"])
    assert_close(found, expected["scores"], atol=EXACT, rtol=EXACT)
