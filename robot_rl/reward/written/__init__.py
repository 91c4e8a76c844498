"""Progress as a function that a language model wrote: asked for, checked, confined, measured."""
