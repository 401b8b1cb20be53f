"""The default backend: all candidates and seeds as one stacked learner on one stream of physics."""
