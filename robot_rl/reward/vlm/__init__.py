"""Vision-language judges of progress: prompts and parsers here, transports beside them."""
