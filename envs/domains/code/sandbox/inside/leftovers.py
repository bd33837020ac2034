"""Removing what a program has left in the folder that it may write into."""

import os
import stat

WHOLE = stat.S_IRWXU


def clear(folder: str) -> None:
    """Remove all that is in a folder, however deep it is and whatever its modes are.

    A folder in it is moved up before it is emptied: a path may be longer than the system takes. Links are not
    followed. Raises OSError where something cannot be removed.
    """
    prefix, moved, waiting = os.urandom(8).hex(), 0, [folder]
    while waiting:
        place = waiting.pop()
        os.chmod(place, WHOLE)
        with os.scandir(place) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, WHOLE)  # its entry for the folder above it changes
                above = os.path.join(folder, f"{prefix}{moved}")
                os.rename(entry.path, above)
                waiting.append(above)
                moved += 1
            else:
                os.unlink(entry.path)
        if place != folder:
            os.rmdir(place)
