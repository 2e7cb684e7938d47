"""The Open WebUI pipe: `pipe.py` is the source, `mlx_harmony_pipe.py` the generated file to paste."""
