"""Dopamine's agent and runner; importing it makes Dopamine 4.1.2 importable."""

from agents.dopamine import repair

repair.apply()
