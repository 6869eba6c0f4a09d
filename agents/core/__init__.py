"""The learner in pure JAX: networks, losses, augmentation, replay, updates.

Nothing here imports TensorFlow, Dopamine, Gymnasium or gin, so it runs with JAX
alone. Every function is pure and works under `vmap`.
"""
