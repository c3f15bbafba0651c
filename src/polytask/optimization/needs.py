"""What a method needs beside the losses, and the lines that supply it in a loop of one's own."""

from __future__ import annotations

from polytask.errors import UserError

LINES = {
    "closure": """
    def closure():
        return {...}  # the same losses of the same batch, computed again
    balancer.backward(losses, closure=closure)""",
    "closure of the first": """
    def closure():
        return {...}  # the losses of the first of the batches, computed again
    balancer.backward([losses_1, ..., losses_n], closure=closure)""",
    "validation": """
    def validation():
        return {...}  # the losses on a batch of held-out data, one batch a step
    balancer.backward(losses, validation=validation)""",
    "batches": """
    balancer.backward([losses_1, ..., losses_n])  # the losses of n independent batches
    # the last of them is the one that is stepped on""",
    "after_step": """
    optimizer.step()
    balancer.after_step()""",
    "epoch": """
    balancer.observe(epoch=epoch)  # at the end of every epoch""",
    "scores": """
    balancer.observe(scores={"task": score, ...})  # after every validation""",
}


def missing(method: str, need: str) -> UserError:
    """The error for a need that was not supplied; shows the lines to add."""
    return UserError(f"{method} needs {need}; add these lines to the loop:{LINES[need]}")
