"""Containers of the docker target: what is asked of the engine, followed, told and removed again."""
