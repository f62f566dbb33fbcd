"""What a thief with a daemon's PIN tries by direct C calls, and what anybody tries at its socket.

An attack is a function that says how it *won*, or gives None. Each runs twice: on the key that the
ceremony made, where winning is the failure, and on a key that differs from it in the one named
weakness, where not winning is the failure: an attack that cannot win proves nothing.
"""
