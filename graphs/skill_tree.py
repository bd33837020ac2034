"""The skill_tree structure: a forest of skills and subskills, explored or exploited.

`graph` is the whole episode, `teacher` the teacher alone; both are builders without a checkpointer, to be
compiled as they are or edited first.
"""

from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.teacher import build_teacher

teacher = build_teacher("skill_tree")
graph = build_episode(teacher, "skill_tree")
