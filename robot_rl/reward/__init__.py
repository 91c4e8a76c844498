"""Progress models and what is made of their scores."""
