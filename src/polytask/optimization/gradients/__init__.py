"""Weights from the Gramian of the tasks' gradients, or a direction from their Jacobian."""
