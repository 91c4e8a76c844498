"""Base policies, the residual actor, critics and encoders."""
