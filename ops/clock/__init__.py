"""How right this host's clock is: the agent that measures it, and what is shown and recorded of it."""
