"""Ways of measuring affinities, one file each; `polytask list estimators` shows them."""
