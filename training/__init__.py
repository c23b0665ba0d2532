"""How the depth network that ships with depthmask is trained; needed only to train it again."""
