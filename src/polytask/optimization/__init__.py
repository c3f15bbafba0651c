"""Balancers: how one step weighs the tasks. One file a method; see `polytask.list_methods`."""

from polytask.optimization.base import Balancer
from polytask.optimization.create import as_balancer, create_method, list_methods

__all__ = ["Balancer", "as_balancer", "create_method", "list_methods"]
