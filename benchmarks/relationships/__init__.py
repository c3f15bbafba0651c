"""What belongs together: cost, proof, and which way of measuring is worth it."""
