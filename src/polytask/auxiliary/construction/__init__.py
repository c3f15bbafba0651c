"""Helper tasks that are made of the data at hand: one file a way of making them."""
