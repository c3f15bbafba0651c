"""One target in a unit a thousand times as small: who still learns the others?"""
