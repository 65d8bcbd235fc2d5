"""Pure mathematics: tensors or arrays in, tensors or arrays out; no I/O, no models, no random state.

The torch half is `masks`, `logprobs`, `kl`, `rewards`, `advantages`, `policy_losses` and `preference_losses`; the NumPy
half is `rankings`, `agreement` and `statistics`. Nothing is imported here, so that the NumPy half starts without torch.
"""
