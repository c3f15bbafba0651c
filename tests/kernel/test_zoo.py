"""Every kind of network people have, against gradients taken task by task with plain autograd."""

import pytest
import torch
from nets import expected, gradients, task_gradients
from zoo import ZOO

import polytask
from polytask.errors import UserError

WEIGHTS = {"a": 0.3, "b": -1.2, "c": 0.0, "value": 2.0, "slope": 0.7}
NO_CUT = {"multi input", "physics", "autoencoder", "lstm"}  # no one place where heads enter


def fixed(tasks, **options):
    chosen = torch.tensor([WEIGHTS[t] for t in tasks], dtype=torch.float64)
    return polytask.as_balancer(lambda g: chosen, **options)


@pytest.mark.parametrize("heads", ["plain", "weighted"])
@pytest.mark.parametrize("statistic", ["features", "tail", "exact"])
@pytest.mark.parametrize("pass_features", [False, True])
@pytest.mark.parametrize("name", ZOO)
def test_gradients_are_those_of_the_weights(name, pass_features, statistic, heads):
    net, forward = ZOO[name]()
    rows = task_gradients(net, forward)
    losses, z = forward()
    features = z if pass_features else None
    balancer = fixed(losses, statistic=statistic, heads=heads)
    if statistic == "features" and features is None and name in NO_CUT:
        with pytest.raises(UserError, match="features="):
            balancer.backward(losses)
        return
    balancer.backward(losses, features=features)
    want = expected(net, rows, WEIGHTS, heads)
    have = gradients(net)
    assert have.keys() == want.keys()
    for key in want:
        torch.testing.assert_close(have[key], want[key], rtol=1e-5, atol=1e-8, msg=key)


@pytest.mark.parametrize("name", ZOO)
def test_the_exact_gramian_is_that_of_all_shared_parameters(name):
    net, forward = ZOO[name]()
    rows = task_gradients(net, forward)
    shared = [n for n, _ in net.named_parameters() if sum(n in row for row in rows.values()) > 1]
    zero = {n: torch.zeros_like(p) for n, p in net.named_parameters()}
    jacobian = torch.stack(
        [torch.cat([(zero | row)[n].reshape(-1) for n in shared]) for row in rows.values()]
    )
    balancer = polytask.create_method("mgda", statistic="exact")
    for _ in range(2):
        step = balancer.backward(forward()[0])
        torch.testing.assert_close(step.gramian, jacobian @ jacobian.T, rtol=1e-5, atol=1e-12)
