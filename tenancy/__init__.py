"""Who may do what, and the words every package speaks. The ground: imports no other package of ours."""
