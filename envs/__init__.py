"""The environment: tasks, scoring, students and their training, and TeacherEnv over them."""
