"""What limits the machine: power caps and clock locks. Off unless configured, and put back.

An actuator knows only its own interface. When a limit is set is for ``decide.actuation`` to say,
and that it is put back for ``execute.governor``.
"""

__all__: list[str] = []
