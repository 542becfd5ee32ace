"""The models that learn from texts and labels: trained, saved, loaded, asked; know no run."""
