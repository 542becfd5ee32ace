"""Privacy: personal data found and masked, canaries planted and searched for."""
