"""Backups of a program's folder: one file with what is named to go in, and nothing else.

``contents`` says what goes in, ``archive`` how the file looks, ``writing`` and ``restoring`` are the two
ways, ``main`` the two commands.

Not here: which files of a site or of the coordinator go in (their ``keeping``), where backups are kept.

Privacy: a backup holds the keys of the party and all that its folder knows; whoever reads it is that party.
It is neither encrypted nor signed: whoever could alter it has the key that would sign it.
"""

from wardround_common.backup.contents import DATABASE_LIMIT_BYTES, Contents, Part
from wardround_common.backup.restoring import restore_backup
from wardround_common.backup.writing import Written, write_backup

__all__ = ["DATABASE_LIMIT_BYTES", "Contents", "Part", "Written", "restore_backup", "write_backup"]
