"""Ollama: a GGUF file and the Modelfile that prompts, stops and samples as the model expects."""
