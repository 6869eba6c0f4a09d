"""Measures what one device does with this project; writes JSON and a page.

    python -m benchmarks.accelerator

Measures the device's own rates, gradient steps, populations of runs, processes
that share the device, images a second of the supervised half, and one real
game. Each figure is written as soon as it is there; after a stop the same
command goes on with the next one. Meant for a GPU or TPU; `--scale=small` is a
trial with small networks, on any machine.
"""
