"""No graph at all: the environment by hand, with Gymnasium's five-tuple.

python examples/bare_environment.py
"""

import dataenvgym

env = dataenvgym.make("math/skill_list", student="tiny", task__val_size=2, task__test_size=2, budget__iterations=2)
observation, info = env.reset(seed=0)
print(f"base: {info['accuracy']:.2f} (n={info['n']}), {len(observation.skills)} skills")
done = False
while not done:
    weakest = min(observation.skills, key=lambda skill: (skill.accuracy, skill.rows, skill.name))
    shown = [item for item in observation.exemplars if item.skill == weakest.name]
    rows = [
        {"skill": weakest.name, "question": i.question, "solution": i.solution, "answer": i.answer} for i in shown
    ]
    observation, reward, terminated, truncated, info = env.step(rows)
    print(f"{weakest.name}: {len(info['accepted'])} rows, {len(info['rejected'])} rejected, reward {reward:+.2f}")
    done = terminated or truncated
print("private test:", env.score_test())
env.close()
