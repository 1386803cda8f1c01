"""`miros-mesh migrate`: what to change in a project of miros-rabbitmq, found without running it."""
