"""What one balanced step costs, in units of one step on the plain sum of the losses."""
