"""The open_ended structure: the teacher sees evaluated predictions and plans freely.

`graph` is the whole episode, `teacher` the teacher, `alone` the teacher on a saved observation (for LangGraph
Studio). All are builders without a checkpointer, to compile unchanged or after editing.
"""

from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.studio import teacher_alone
from dataenvgym.graphs.teacher import build_teacher

teacher = build_teacher("open_ended")
graph = build_episode(structure="open_ended")
alone = teacher_alone(teacher, "open_ended")
