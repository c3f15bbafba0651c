"""torch.compile on the heads, the trunk, both or all: the right gradients, or a remedy."""

import pytest
import torch
from torch import nn

import polytask
from polytask.errors import UserError

WEIGHTS = [0.3, -1.2, 2.0]
# Tracing asks a head's input, which is no leaf, for its .grad.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


def build(what):
    """Modules and a forward pass in which `what` is compiled (traced, without code generation)."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    heads = nn.ModuleDict({t: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1)) for t in "abc"})
    x = torch.randn(12, 5)

    def compiled(function, on):
        return torch.compile(function, backend="aot_eager") if what in on else function

    encode = compiled(trunk, ("trunk", "each"))
    each = {t: compiled(head, ("heads", "each")) for t, head in heads.items()}

    @lambda f: compiled(f, ("heads together",))
    def read(z):
        return {t: head(z) for t, head in each.items()}

    @lambda f: compiled(f, ("all",))
    def run():
        z = encode(x)
        return read(z), z

    def forward():
        outputs, z = run()
        return {t: out.square().mean() for t, out in outputs.items()}, z

    return nn.ModuleList([trunk, heads]), forward


@pytest.mark.parametrize("statistic", ["losses", "features", "tail", "exact"])
@pytest.mark.parametrize("pass_features", [False, True])
@pytest.mark.parametrize("what", ["heads", "trunk", "each", "heads together", "all"])
def test_gradients_are_right_or_refused(what, pass_features, statistic):
    net, forward = build(what)
    if statistic == "losses":
        balancer = polytask.create_method("linear", weights=dict(zip("abc", WEIGHTS, strict=True)))
        balancer.heads = "plain"
    else:
        balancer = polytask.as_balancer(lambda g: torch.tensor(WEIGHTS), statistic=statistic)
    losses, z = forward()
    hidden = what in ("heads together", "all") or (what in ("trunk", "each") and not pass_features)
    if hidden:
        with pytest.raises(UserError, match=r"compile the encoder and each head|reaches the feat"):
            balancer.backward(losses, features=z if pass_features else None)
        assert all(p.grad is None for p in net.parameters())
        return
    balancer.backward(losses, features=z if pass_features else None)
    plain, forward = build("nothing")
    losses, z = forward()
    seen = torch.stack([torch.autograd.grad(x, z, retain_graph=True)[0] for x in losses.values()])
    sum(losses.values()).backward(inputs=list(plain[1].parameters()), retain_graph=True)
    z.backward(torch.tensordot(torch.tensor(WEIGHTS), seen, dims=1))
    for have, want in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(have.grad, want.grad, rtol=1e-4, atol=1e-6)
