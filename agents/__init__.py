"""The teacher's side: prompts, the gateway to chat models, and the nodes that plan, generate and verify."""
