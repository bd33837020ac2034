"""The skill_list structure: predictions grouped by skill, data requests per skill.

`graph` is the whole episode, `teacher` the teacher, `alone` the teacher on a saved observation (for LangGraph
Studio). All are builders without a checkpointer, to compile unchanged or after editing.
"""

from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.studio import teacher_alone
from dataenvgym.graphs.teacher import build_teacher

teacher = build_teacher("skill_list")
graph = build_episode(structure="skill_list")
alone = teacher_alone(teacher, "skill_list")
