"""How long the network takes, stage by stage, and beside the same network on other foundations."""
