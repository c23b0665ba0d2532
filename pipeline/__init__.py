"""The depthmask program: recipe, inputs, plan, graph, runner, command line."""
