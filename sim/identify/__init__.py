"""System identification: from measured motion to the parameters of the twin, and how sure."""
