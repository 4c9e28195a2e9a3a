"""How well layouts hold, measured in the small world: suites of cells, their scenes, pictures, scores, intervals and
bars.
"""
