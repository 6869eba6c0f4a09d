"""The one room that knows Dopamine; importing it repairs Dopamine 4.1.2."""

from agents.dopamine import repair

repair.apply()
