"""The offline chat model, whatever it teaches."""
