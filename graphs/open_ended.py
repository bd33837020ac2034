"""The open_ended structure: the teacher sees evaluated predictions and plans freely.

`graph` is the whole episode, `teacher` the teacher, `alone` the teacher fed from a saved observation (for
LangGraph Studio); all are builders without a checkpointer, to be compiled as they are or edited first.
"""

from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.studio import teacher_alone
from dataenvgym.graphs.teacher import build_teacher

teacher = build_teacher("open_ended")
graph = build_episode(teacher, "open_ended")
alone = teacher_alone(teacher, "open_ended")
