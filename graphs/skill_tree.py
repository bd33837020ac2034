"""The skill_tree structure: a forest of skills and subskills, explored or exploited.

`graph` is the whole episode, `teacher` the teacher, `alone` the teacher on a saved observation (for LangGraph
Studio). All are builders without a checkpointer, to compile unchanged or after editing.
"""

from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.studio import teacher_alone
from dataenvgym.graphs.teacher import build_teacher

teacher = build_teacher("skill_tree")
graph = build_episode(structure="skill_tree")
alone = teacher_alone(teacher, "skill_tree")
