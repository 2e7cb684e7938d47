"""The Dify plugin: gpt-oss on mlx_lm.server as a model provider."""
