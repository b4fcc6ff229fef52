"""What leaves a build: model folders, GGUF, adapters, Ollama; each verified against its source."""
