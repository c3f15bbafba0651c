"""GradDrop and DB-MTL: methods that need the rows themselves."""

import copy

import numpy as np
import pytest
import torch
from gradient_rows import J2, J3, jacobian, near
from torch import nn

import polytask
from polytask.errors import UserError


class Net(nn.Module):
    """Two shared layers and three heads, in float64."""

    def __init__(self, activation=nn.Tanh):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 5), activation())
        self.heads = nn.ModuleDict({t: nn.Linear(5, 1) for t in "abc"})
        self.double()
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(8, 4, generator=generator, dtype=torch.float64)
        self.y = torch.randn(8, 3, generator=generator, dtype=torch.float64)

    def forward(self):
        z = self.trunk(self.x)
        losses = {
            t: (head(z)[:, 0] - self.y[:, i]).square().mean()
            for i, (t, head) in enumerate(self.heads.items())
        }
        return losses, z

    def rows(self):
        losses, _ = self()
        shared = list(self.trunk.parameters())
        out = []
        for loss in losses.values():
            found = torch.autograd.grad(loss, shared, retain_graph=True)
            out.append(torch.cat([g.reshape(-1) for g in found]))
        return torch.stack(out)

    def trunk_gradient(self):
        return torch.cat([p.grad.reshape(-1) for p in self.trunk.parameters()])

    def head_gradients(self):
        return torch.cat([p.grad.reshape(-1) for p in self.heads.parameters()])


def plain_gradients():
    net = Net()
    torch.stack(list(net()[0].values())).sum().backward()
    return net


def draw(seed):
    return torch.Generator().manual_seed(seed)


class TestGradDrop:
    def test_golden_purity(self):
        """J2: P = (.75, 1): the first coordinate keeps 3 three times out of four, else -1."""
        method = polytask.GradDrop(generator=draw(0))
        draws = torch.stack([method.combine(J2) for _ in range(4000)])
        assert set(draws[:, 0].tolist()) == {3.0, -1.0}
        assert set(draws[:, 1].tolist()) == {1.0}
        near((draws[:, 0] == 3.0).double().mean(), 0.75, 0.03)

    @pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
    def test_its_mean_is_the_plain_sum(self, leak):
        j = jacobian(0, 4, 6)
        method = polytask.GradDrop(leak=leak, generator=draw(1))
        draws = torch.stack([method.combine(j) for _ in range(8000)])
        error = draws.std(dim=0) / 8000**0.5
        assert float(((draws.mean(dim=0) - j.sum(dim=0)).abs() - 4.5 * error).max()) < 1e-12

    def test_equals_the_paper_s_loop(self):
        j = jacobian(2, 5, 40)
        leak = {"0": 0.1, "3": 0.7}
        found = polytask.GradDrop(leak=leak, generator=draw(5)).combine(j)
        uniform = torch.rand(40, generator=draw(5))
        for k in range(40):
            purity = 0.5 * (1 + j[:, k].sum() / j[:, k].abs().sum())
            total = 0.0
            for t in range(5):
                keep = j[t, k] > 0 if purity > uniform[k] else j[t, k] < 0
                share = leak.get(str(t), 0.0)
                total += (share + (1 - share) * keep) * j[t, k]
            near(found[k], float(total), 1e-12)

    def test_signs_that_agree_drop_nothing(self):
        j = J3.abs()
        near(polytask.GradDrop().combine(j), j.sum(dim=0).tolist())
        near(polytask.GradDrop().combine(-j), (-j.sum(dim=0)).tolist())

    def test_scale_does_not_matter(self):
        for factor in (1e-12, 1e12):
            scaled = polytask.GradDrop(generator=draw(2)).combine(J3 * factor) / factor
            near(scaled, polytask.GradDrop(generator=draw(2)).combine(J3).tolist(), 1e-9)

    def test_on_parameters_without_features(self):
        net = Net()
        step = polytask.GradDrop(generator=draw(3)).backward(net()[0], shared=net.trunk)
        expected = polytask.GradDrop(generator=draw(3)).combine(net.rows())
        assert "exact" in step.statistic
        near(net.trunk_gradient(), expected.tolist(), 1e-12)
        near(net.head_gradients(), plain_gradients().head_gradients().tolist(), 1e-12)

    def test_on_the_representation_signs_are_those_of_its_values(self):
        """Batch sums of sign(z) times the gradient make one mask a feature."""
        net = Net()
        losses, z = net()
        grads = torch.stack(
            [torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in losses.values()]
        )
        summed = (z.sign() * grads).sum(dim=1)
        purity = 0.5 * (1 + summed.sum(dim=0) / summed.abs().sum(dim=0))
        up = purity > torch.rand(1, 5, generator=draw(4))[0]
        mask = torch.where(up, summed > 0, summed < 0)
        expected = torch.autograd.grad(
            z, list(net.trunk.parameters()), (mask[:, None] * grads).sum(dim=0), retain_graph=True
        )
        assert 0 < mask.double().mean() < 1
        step = polytask.GradDrop(generator=draw(4)).backward(losses, features=z)
        assert step.statistic.startswith("features")
        near(net.trunk_gradient(), torch.cat([g.reshape(-1) for g in expected]).tolist(), 1e-12)
        near(net.head_gradients(), plain_gradients().head_gradients().tolist(), 1e-12)

    def test_a_cut_of_several_tensors(self):
        net = Net(nn.ReLU)
        z = net.trunk(net.x)
        left, right = z[:, :2].clone(), z[:, 2:].reshape(8, 3, 1).clone()
        whole = torch.cat([left, right[:, :, 0]], dim=1)
        losses = {t: head(whole).square().mean() for t, head in net.heads.items()}
        polytask.GradDrop(leak=1.0).backward(losses, features=[left, right])
        leaked = net.trunk_gradient()
        net.zero_grad()
        z = net.trunk(net.x)
        torch.stack([head(z).square().mean() for head in net.heads.values()]).sum().backward()
        near(leaked, net.trunk_gradient().tolist(), 1e-12)

    def test_a_statistic_that_was_named_is_used(self):
        net = Net()
        losses, z = net()
        step = polytask.GradDrop(statistic="exact").backward(losses, features=z)
        assert step.statistic.startswith("exact")

    def test_errors(self):
        net = Net()
        with pytest.raises(UserError, match="pass features="):
            polytask.GradDrop(statistic="features").backward(net()[0])
        with pytest.raises(UserError, match=r"leak must be in \[0, 1\]"):
            polytask.GradDrop(leak={"a": 2.0})


class TestDBMTL:
    def test_golden(self):
        method = polytask.DBMTL(beta=0.0)
        near(method.combine(J2), [0.878680, 2.121320])
        near(polytask.DBMTL().combine(J3), [0.509288, -0.509288, 2.745356])

    def test_two_steps_by_hand(self):
        """d from the running means of the gradients of log L, over all shared parameters."""
        net = Net()
        balancer = polytask.DBMTL(beta=0.8, sigma=0.5)
        mean = None
        for k in (1, 2, 3):
            values = torch.stack([loss.detach() for loss in net()[0].values()])
            rows = net.rows() / values[:, None]
            share = 0.8 / k**0.5
            mean = rows if mean is None else rows + share * (mean - rows)
            size = mean.norm(dim=1, keepdim=True)
            expected = (mean * size.max() / size).sum(dim=0)
            net.zero_grad()
            step = balancer.backward(net()[0])
            near(net.trunk_gradient(), expected.tolist(), 1e-10)
            assert step.weights == {}
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter -= 0.05 * parameter.grad

    def test_heads_learn_from_the_logarithm(self):
        net = Net()
        polytask.DBMTL().backward(net()[0])
        other = Net()
        torch.stack([loss.log() for loss in other()[0].values()]).sum().backward()
        near(net.head_gradients(), other.head_gradients().tolist(), 1e-12)

    def test_losses_units_do_not_matter(self):
        one, two = Net(), Net()
        polytask.DBMTL().backward(one()[0])
        polytask.DBMTL().backward({t: 1e6 * loss for t, loss in two()[0].items()})
        near(one.trunk_gradient(), two.trunk_gradient().tolist(), 1e-9)

    def test_a_zero_gradient_is_left_out_and_scale_is_free(self):
        j = torch.cat([J2, torch.zeros(1, 2, dtype=torch.float64)])
        for factor in (1e-30, 1.0, 1e30):
            near(polytask.DBMTL().combine(j * factor) / factor, [0.878680, 2.121320])

    def test_rows_are_kept_by_name_and_reported(self):
        net = Net()
        balancer = polytask.DBMTL()
        assert balancer.state_bytes == 0
        losses, _ = net()
        balancer.backward({t: losses[t] for t in "ab"})
        assert balancer.state_bytes == 2 * 65 * 8
        before = balancer.table["mean_gradient", "a"].clone()
        losses, _ = net()
        balancer.backward({t: losses[t] for t in "bc"})
        assert balancer.state_bytes == 3 * 65 * 8
        assert torch.equal(balancer.table["mean_gradient", "a"], before)

    def test_one_task_alone_is_an_ordinary_step(self):
        net, other = Net(), Net()
        balancer = polytask.DBMTL()
        balancer.backward(net()[0])
        state = copy.deepcopy(balancer.state_dict())
        net.zero_grad()
        balancer.backward({"b": net()[0]["b"]})
        other()[0]["b"].log().backward()
        near(net.trunk_gradient(), other.trunk_gradient().tolist(), 1e-12)
        assert all(torch.equal(value, state[key]) for key, value in balancer.state_dict().items())

    def test_errors(self):
        with pytest.raises(UserError, match="beta must be"):
            polytask.DBMTL(beta=1.0)
        with pytest.raises(UserError, match="one batch's samples"):
            polytask.DBMTL(statistic="features")
        balancer = polytask.DBMTL()
        balancer.combine(J2)
        with pytest.raises(UserError, match="had 2 numbers and now has 3"):
            balancer.combine(J3[:2])

    def test_forty_tasks_equal_numpy(self):
        rows = jacobian(9, 40).numpy()
        size = np.linalg.norm(rows, axis=1, keepdims=True)
        expected = (rows / size * size.max()).sum(axis=0)
        found = polytask.DBMTL().combine(torch.tensor(rows)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-9)
