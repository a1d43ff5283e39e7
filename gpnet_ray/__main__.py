"""``python -m gpnet_ray`` is the command ``gpnet-ray``."""

from gpnet_ray.cli import main

__all__: list[str] = []

main()
