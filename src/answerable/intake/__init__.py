"""Where work arrives: webhooks, watched queue tables and schedules, each a thin door to one `Intake`.

A door names the event that a task came from; the run's id is made of it. So whatever is delivered again, after a
crash, by a second process or by the sender, is the run that is there already.
"""

from answerable.intake.doors import Doors, doors_of
from answerable.intake.reception import open_reception
from answerable.intake.watch import run_doors

__all__ = ["Doors", "doors_of", "open_reception", "run_doors"]
