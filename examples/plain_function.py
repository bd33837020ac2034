"""A teacher from nothing: one plain function from what the environment shows to rows.

python examples/plain_function.py
dataenvgym check examples/plain_function.py:addition_teacher --set structure=skill_list
"""

import random

import dataenvgym


def addition_teacher(observation):
    """Addition, with numbers that grow by the iteration. The checks of the config run on the rows."""
    rng = random.Random(observation.iteration)
    rows = []
    for _ in range(observation.budget):
        a, b = (rng.randrange(10 ** (observation.iteration + 1)) for _ in range(2))
        rows.append(
            {
                "skill": "addition",
                "question": f"What is {a} + {b}?",
                "solution": f"{a} + {b} = {a + b}",
                "answer": str(a + b),
            }
        )
    return rows


if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=2", "budget.rows_per_iteration=12"])
    outcome = dataenvgym.run(config, teacher=addition_teacher)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
