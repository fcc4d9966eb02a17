"""A vote leaves before the disk has it."""

from tests.simulation.variant import Variant

VARIANT = Variant(is_synced=False)
