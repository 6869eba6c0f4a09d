"""The learner in pure JAX: networks, losses, augmentation, replay, updates.

Nothing here imports TensorFlow, Dopamine, Gymnasium or gin, and every function
is pure and can be `vmap`ped, so that it also runs where there is JAX alone.
"""
