"""The open_ended structure: the teacher sees evaluated predictions and plans freely.

`graph` is the whole episode, `teacher` the teacher alone; both are builders without a checkpointer, to be
compiled as they are or edited first.
"""

from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.teacher import build_teacher

teacher = build_teacher("open_ended")
graph = build_episode(teacher, "open_ended")
